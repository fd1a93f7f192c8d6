"""Diversity: how varied a list is, decided per user and over time: DPP, MMR or calibration, and quotas.

Source:  Chen et al. 2018, NeurIPS, arXiv:1709.05135 (greedy MAP of a DPP); Carbonell and Goldstein 1998 (MMR); Steck
         2018 (calibration); the survey's section 6 (dynamic control).
Idea:    greedy picks by (1 - strength) * relevance + strength * variety; the strength of each user comes from how
         varied the history is, in either direction, is corrected by what was consumed, or is learnt by a bandit.
Differs: the variety of a history is the mean over windows of `recent` events, so that goals compare with what one page
         can do; goals are places among all users; the paper's theta is (1 - strength) / strength; a list goes on when
         the determinant is used up; the words of a request choose a level, not an attribute; reward is lists per visit.
Cost:    k look-ups of likeness and O(k^2 m) products per list of m candidates; by log a table of all pairs of items;
         a model only for requests in words.
Needs:   ratings, a catalog attribute; a named feature table (by feature).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.classic.calibrated import Calibrated, Mix
from hexarec.classic.mmr import MMR, Marginal
from hexarec.core import Catalog, DataError, Dataset, Exposures, Lists, OptionError, PerUser, Queries, ready, variant
from hexarec.core import ragged as rg
from hexarec.core.run import degrade
from hexarec.lm.base import Choice, LanguageModel, Prompt
from hexarec.parts.attributes import variety
from hexarec.parts.constraints import Quotas, Tally
from hexarec.parts.determinant import Determinant, Numbers
from hexarec.parts.feedback import Bandit, Steered
from hexarec.parts.greedy import Block, Objective, blocks, flattened, greedy, reordered
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import clean

CELLS = 8192  # candidates handled at once
HOW, DIRECTION = ("dpp", "mmr", "calibrated"), ("follow", "explore", "learnt", "fixed")
USED, ODDS = "diversity.strength", "diversity.propensity"
ARMS, GRID = 5, np.linspace(0.0, 1.0, 101)  # strengths that the bandit tries, from low to high; places among users
LEVELS = {"1": 0.0, "2": 0.25, "3": 0.5, "4": 0.75, "5": 1.0}
PROMPTS = Prompts(
    "diversity",
    1,
    en={
        "level": 'Somebody asks for recommendations and says: "{words}"\nHow varied should the list be?\n'
        "1 all of one kind\n2 rather alike\n3 mixed\n4 varied\n5 full of surprises\n0 the words do not say\n"
        "Answer with one digit."
    },
    zh={
        "level": "有人想要推荐，并且说：“{words}”\n列表应该有多多样？\n1 全是同一类\n2 比较相似\n3 有所混合\n4 多样\n"
        "5 充满惊喜\n0 话里没有说\n只回答一个数字。"
    },
)


@dataclass
class Diversity:
    """Varied lists under a strength of their own.

    how: what variety is: dpp (a determinant), mmr (unlikeness to the nearest pick), calibrated (a mix like the
    history's). direction: follow (more for broad taste), explore (more for narrow taste), learnt (a bandit rewarded by
    the length of visits), fixed (all alike). strength: weight of variety, 0 to 1: everybody's with fixed, else of who
    has no history. low: least strength of the other directions. high: largest strength of the other directions. by:
    where likeness comes from: attribute (values two items share), feature (vectors), log (who liked both). name: the
    attribute or feature table of likeness; not used by log. attribute: the catalog attribute of taste, calibration and
    quotas. at_least: items of a category that a list holds at least; "*" stands for every category. at_most: items of
    a category that a list holds at most; "*" as before. window: how many of the newest picks push others away in dpp,
    None = all. ridge: share of an item that no other has in dpp; 0 keeps items of equal values apart as copies. recent:
    liked events in a row whose variety is measured. proportional: how much the strength moves per unit of error after
    a list was consumed. integral: the same per unit of summed error. lm: reads from the words of a request how varied
    the list should be. prompts: the wording, English and Chinese.
    """

    how: Literal["dpp", "mmr", "calibrated"] = "dpp"
    direction: Literal["follow", "explore", "learnt", "fixed"] = "follow"
    strength: float = 0.4
    low: float = 0.0
    high: float = 0.8
    by: Literal["attribute", "feature", "log"] = "attribute"
    name: str = "genres"
    attribute: str = "genres"
    at_least: Mapping[str, int] = field(default_factory=dict)
    at_most: Mapping[str, int] = field(default_factory=dict)
    window: int | None = None
    ridge: float = 0.0
    recent: int = 10
    proportional: float = 0.5
    integral: float = 0.02
    lm: LanguageModel | None = None
    prompts: Prompts = PROMPTS
    reads_text: ClassVar[bool] = True

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Learn likeness, mixes of genres and the variety of each history. Raises OptionError, CapabilityError."""
        self._check()
        self.key_, self.seed_ = data.catalog.key, int(seed)
        # a table cut to some neighbours is no kernel: its determinants may be negative
        self.alike_ = MMR(by=self.by, name=self.name, neighbours=data.n_items).fit(data)
        self.mix_ = Calibrated(attribute=self.attribute).fit(data)
        self.quotas_ = Quotas.of(self.mix_.values_, self.at_least, self.at_most)
        past = (whole := data.queries().history).where(whole.liked)
        own = variety(past.offsets, past.item, self.mix_.genres_, self.recent)
        self.users_ = PerUser.of(data.users.ids, np.nan_to_num(own), ~np.isnan(own))
        some = own[~np.isnan(own)]
        self.scale_: Numbers = np.quantile(some, GRID) if len(some) else np.full(len(GRID), np.nan)
        self.steered_, self.bandit_ = Steered.of(data.users.ids), Bandit.of(data.users.ids, ARMS)
        return self

    def _check(self) -> None:
        if self.how not in HOW or self.direction not in DIRECTION:
            hint = f"how: {', '.join(HOW)}; direction: {', '.join(DIRECTION)}"
            raise OptionError(f"how is {self.how!r}, direction is {self.direction!r}", hint=hint)
        if not 0.0 <= self.low <= self.high <= 1.0 or not 0.0 <= self.strength <= 1.0:
            raise OptionError(f"strength {self.strength}, low {self.low}, high {self.high}", hint="0 to 1, low <= high")
        if self.recent < 1 or (self.window is not None and self.window < 1) or not 0.0 <= self.ridge < 1.0:
            raise OptionError("recent and window are at least 1, ridge is from 0 to below 1")
        if not self.proportional >= 0.0 <= self.integral:  # below 0 they would steer away from the goal
            raise OptionError(f"proportional {self.proportional}, integral {self.integral}", hint="0 or more")

    def extend(self, catalog: Catalog) -> Self:
        """The stage for a grown catalog: the attributes of new items are read. Raises LineageError."""
        made = variant(self)
        made.mix_, made.alike_ = self.mix_.extend(catalog), self.alike_.extend(catalog)
        return made

    def control(self, queries: Queries, ranked: Lists, k: int) -> Lists:
        """At most k items of each list; `diversity.strength` says how strong. Unmet quotas stand in the notes."""
        ready(self, queries, ranked)
        (strength, odds), mix = self.strengths(queries), self.mix_.target(queries)
        picks, told = [], []
        for block in blocks(ranked, CELLS):
            known = block.items < len(self.mix_.genres_)
            of = self.mix_.genres_[np.where(known, block.items, 0)][:, :, self.quotas_.columns] > 0
            rule = Tally(self.quotas_, block, of & known[:, :, None], k)
            objective = self._objective(block, strength[block.place], mix[block.place])
            picks.append(rule.mended(greedy(block, k, objective, rule)))
            told += [self.quotas_.told(count) for count in rule.count]
        made = reordered(ranked, *flattened(ranked, picks), "diversity")
        for name, column in ((USED, strength), (ODDS, odds)):
            made = made.with_field(name, np.repeat(column, made.lengths).astype(np.float32))
        if any(told):
            notes = made.notes or ({},) * len(made)
            made = replace(made, notes=tuple({**n, "quotas": t} if t else n for n, t in zip(notes, told, strict=True)))
        return made

    def _objective(self, block: Block, strength: Numbers, mix: NDArray[np.float32]) -> Objective:
        if self.how == "mmr":
            return Marginal(self.alike_, block, (1.0 - strength).astype(np.float32))
        if self.how == "calibrated":
            return Mix(self.mix_, block, mix, strength.astype(np.float32))
        return Determinant(block, self.alike_.kernel, strength, self.window, self.ridge)

    def strengths(self, queries: Queries) -> tuple[Numbers, Numbers]:
        """The weight of variety for each question (n,), and the probability with which it was chosen (n,)."""
        ready(self, queries)
        odds = np.ones(len(queries))
        if self.direction == "fixed":
            made = np.full(len(queries), self.strength)
        elif self.direction == "learnt":
            arm, odds = self.bandit_.choose(queries, self.seed_, "diversity")
            made = np.linspace(self.low, self.high, ARMS)[arm]
        else:
            learned, known = self.steered_.users.dense(queries)
            learned = np.clip(learned[:, 0], self.low, self.high)
            made = np.where(known, learned, self._by_taste(self._place(queries)))
        wish = self._wishes(queries)
        return np.where(np.isnan(wish), made, wish), np.where(np.isnan(wish), odds, 1.0)

    def _by_taste(self, place: Numbers) -> Numbers:
        return np.where(np.isnan(place), self.strength, self.low + (self.high - self.low) * place)

    def _place(self, queries: Queries) -> Numbers:
        """Where the goal of each question lies among the varieties of all users, (n,) in [0, 1]; NaN = unknown."""
        past = queries.history.where(queries.history.liked)
        own = variety(past.offsets, past.item, self.mix_.genres_, self.recent)
        learned, known = self.users_.dense(queries)
        own = np.where((queries.history.lengths == 0) & known, learned, own)
        place = (np.searchsorted(self.scale_, own) + np.searchsorted(self.scale_, own, "right")) / 2 / len(GRID)
        place = np.where(np.isnan(own) | np.isnan(self.scale_[0]), np.nan, place)
        return 1.0 - place if self.direction == "explore" else place

    def _wishes(self, queries: Queries) -> Numbers:
        """The strength that the words of each request ask for, (n,); NaN where they ask for none or cannot be read."""
        made = np.full(len(queries), np.nan)
        asked = [i for i, words in enumerate(queries.text if queries.text is not None else ()) if words]
        if self.lm is None or not asked:
            return made
        words = [(queries.lang[i], clean(queries.text[i], 400)) for i in asked]  # type: ignore[index]
        prompts = [Prompt.user(self.prompts.text(lang, "level", words=said), max_tokens=4) for lang, said in words]
        answers = self.lm.generate(prompts, Choice(("0", *LEVELS)) if "choice" in self.lm.can else None)
        for i, answer in zip(asked, answers, strict=True):
            level = LEVELS.get(answer.text.strip(" \n.[]()"))
            made[i] = np.nan if level is None or not answer.good else self.low + level * (self.high - self.low)
        if lost := [answer for answer in answers if not answer.good]:
            degrade(f"{len(lost)} of {len(answers)} requests not read: {lost[0].error or lost[0].finish}")
        return made

    def learn(self, exposures: Exposures) -> Self:
        """A stage that saw what came of its lists: strengths move towards their goal, or the bandit counts visits.

        Raises DataError when the bandit is to learn from lists without the field `diversity.strength`.
        """
        ready(self, exposures.queries, exposures.shown)
        there = np.flatnonzero((exposures.queries.user >= 0) & (exposures.shown.lengths > 0))
        there = there[np.argsort(exposures.queries.now[there], kind="stable")]
        queries, shown = exposures.queries.take(there), exposures.shown.take(there)
        made = variant(self)
        if self.direction == "learnt":
            made.bandit_ = self._visits(queries, shown)
        elif self.direction != "fixed":
            made.steered_ = self._corrected(queries, shown)
        return made

    def reset(self, users: Sequence[str]) -> Self:
        """The stage without what feedback taught it about these users; their histories still count."""
        made = variant(self)
        made.steered_, made.bandit_ = self.steered_.reset(users), self.bandit_.reset(users)
        return made

    def _visits(self, queries: Queries, shown: Lists) -> Bandit:
        """The lists of a user in one call are one visit: its length rewards the strength it began with."""
        if USED not in shown.fields:
            raise DataError(f"the shown lists lack {USED!r}", field=USED, hint="show lists that this stage controlled")
        names, first, count = np.unique(np.array(queries.user_ids(), object), return_index=True, return_counts=True)
        used = shown.fields[USED][shown.offsets[first]]
        arm = np.abs(used[:, None] - np.linspace(self.low, self.high, ARMS)).argmin(1)
        return self.bandit_.learn(names.tolist(), arm, count.astype(np.float64))

    def _corrected(self, queries: Queries, shown: Lists) -> Steered:
        """Strengths a step nearer to where the goal lies: a place among users, in what histories of that place hold."""
        place = self._place(queries)
        error = np.interp(place, GRID, self.scale_) - self._consumed(queries, shown)
        known = ~np.isnan(error)
        names = [name for name, good in zip(queries.user_ids(), known, strict=True) if good]
        gains, bounds = (self.proportional, self.integral), (self.low, self.high)
        return self.steered_.moved(names, self._by_taste(place)[known], error[known], gains, bounds)

    def _consumed(self, queries: Queries, shown: Lists) -> Numbers:
        """Variety of the last liked events once the list is consumed, (n,); NaN where nothing of it was."""
        took, past = shown.fields["gain"] > 0, queries.history.where(queries.history.liked)
        new = rg.segments(shown.offsets)[took]
        row = np.concatenate([rg.segments(past.offsets), new])
        order = np.argsort(row, kind="stable")
        offsets = rg.offsets_of(np.bincount(row, minlength=len(queries)))
        newest, flat = rg.spans(np.maximum(offsets[1:] - min(self.recent, len(order)), offsets[:-1]), offsets[1:])
        items = np.concatenate([past.item, shown.items[took]])[order][flat]
        made = variety(newest, items, self.mix_.genres_, self.recent)
        return np.where(np.bincount(new, minlength=len(queries)) > 0, made, np.nan)
