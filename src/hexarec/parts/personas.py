"""How a simulated user reads in a prompt: traits, taste, what was liked, what is remembered; and what goes to memory.

Titles and facts are kept as they read, so that a visit can go on without the catalog.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hexarec.core import Catalog, Dataset, degrade, strings
from hexarec.lm.base import Encoder, LanguageModel, Prompt
from hexarec.metrics.reference import Tags
from hexarec.parts.domain import domain_words
from hexarec.parts.encoded import taught
from hexarec.parts.known import Known
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import clean, numbered, present_fields, titles, value_text
from hexarec.parts.traits import NAMES, Floats, Persona
from hexarec.parts.visit import SAID, Judged, Mood, Scene, Visit, recalled

PROMPTS = Prompts(
    "agent4rec",
    1,
    en={
        "role": "You are a person who looks through recommended {noun} and decides for yourself.\n",
        "activity1": "You {act} very little and leave as soon as something disappoints you.\n",
        "activity2": "You {act} now and then and stay while the recommendations are all right.\n",
        "activity3": "You {act} a great deal and patiently look through many pages.\n",
        "conformity1": "Your ratings go along with what others give.\n",
        "conformity2": "Your ratings weigh your own opinion against what others give.\n",
        "conformity3": "You rate by your own opinion alone, whatever others give.\n",
        "diversity1": "You care for a few kinds of {noun} only and pass over all others.\n",
        "diversity2": "You keep to some kinds of {noun} and try another once in a while.\n",
        "diversity3": "You like many kinds of {noun} and gladly try what is new to you.\n",
        "taste": "Your taste: {taste}\n",
        "liked": "{noun} you liked, oldest first:\n{history}\n",
        "disliked": "{noun} you did not like: {history}.\n",
        "nothing": "Nothing is known of what you {verb} before.\n",
        "memory": "What you remember of this visit:\n{memory}\n",
        "suits": "{condition}Does this suit your taste?\n[A] {title}\nAnswer Yes or No.",
        "number": "{condition}These suit your taste:\n{options}\nHow many of them would you {act} now, from 0 to {n}? "
        "Answer with the number only.",
        "rate": "{condition}You have just taken this up. How do you rate it, from {low} (worst) to {high} (best)?\n"
        "[A] {title}\nAnswer with the number only.",
        "content": "{condition}Are you content with the recommendations so far? Answer Yes or No.",
        "leave": "{condition}{tired}Do you leave now? Answer Yes or No.",
        "stay": "{condition}{tired}Do you look at one more page? Answer Yes or No.",
        "grade": "{condition}You have left. How well did the recommendations suit you, from 0 (not at all) to 9 "
        "(perfectly)? Answer with the number only.",
        "page_text": "{condition}The page shows:\n{options}\nJudge all {n}. One line each, in this form, the letter or "
        "number in brackets first, rating from {low} to {high}:\n"
        "[letter] suits: yes or no; take: yes or no; rating: number, if you take it",
        "page_json": "{condition}The page shows:\n{options}\nJudge all {n}: whether each suits your taste, whether you "
        "{act} it now, and how you rate it then, from {low} to {high}. Answer with JSON only: "
        '{{"items": [{{"handle": "...", "suits": true, "take": false, "rating": 3}}, ...]}}',
        "decide_text": "{condition}{tired}Are you content with the recommendations so far, and do you leave now? "
        "Answer in this form: content: yes or no; leave: yes or no; why: one short sentence",
        "decide_json": "{condition}{tired}Are you content with the recommendations so far, and do you leave now? "
        'Answer with JSON only: {{"content": true, "leave": false, "why": "..."}}',
        "ask_text": "{condition}You have left. How well did the recommendations suit you, from 1 (not at all) to 10 "
        "(perfectly)? Answer in this form: score: number; why: one short sentence",
        "ask_json": "{condition}You have left. How well did the recommendations suit you, from 1 (not at all) to 10 "
        '(perfectly)? Answer with JSON only: {{"score": 5, "why": "..."}}',
        "describe": "Your highest ratings went to: {liked}.\nYour lowest ratings went to: {disliked}.\nIn one or two "
        "sentences that begin with I, say what {noun} you like and why. Name no titles.",
        "often": "often {values}.",
        "unknown": "not known yet.",
        "none": "none",
        "fresh": "You are not tired. ",
        "tired": "You have looked at several pages and are a little tired. ",
        "weary": "You have looked at many pages and are very tired. ",
        "fact": "Page {page} showed {shown}. You took up {taken}; what suits you not: {passed}.",
        "rated": "{title} (rated {value})",
        "happy": "After page {page} you were content.",
        "unhappy": "After page {page} you were not content.",
        "sum": "Of {shown} shown so far, {aligned} suit you and you liked {liked}.",
        "others": "others give it {value}",
        "yes": "Yes",
        "no": "No",
    },
    zh={
        "role": "你是一位浏览推荐{noun}并自己做决定的用户。\n",
        "activity1": "你很少{act}，一旦失望就离开。\n",
        "activity2": "你有时会{act}，只要推荐还可以就会留下。\n",
        "activity3": "你经常{act}，会耐心翻看很多页。\n",
        "conformity1": "你的评分跟随大家的评分。\n",
        "conformity2": "你的评分会权衡自己的看法和大家的评分。\n",
        "conformity3": "你只按自己的看法评分，不管别人给多少分。\n",
        "diversity1": "你只关心少数几类{noun}，其余一概略过。\n",
        "diversity2": "你偏爱某几类{noun}，偶尔尝试别的。\n",
        "diversity3": "你喜欢很多类{noun}，乐于尝试新的。\n",
        "taste": "你的喜好：{taste}\n",
        "liked": "你喜欢过的{noun}（由旧到新）：\n{history}\n",
        "disliked": "你不喜欢的{noun}：{history}。\n",
        "nothing": "目前不知道你以前{verb}什么。\n",
        "memory": "你记得这次访问：\n{memory}\n",
        "suits": "{condition}它符合你的喜好吗？\n[A] {title}\n请只回答 Yes（是）或 No（否）。",
        "number": "{condition}以下符合你的喜好：\n{options}\n你现在想{act}其中几个？从 0 到 {n}，只回答数字。",
        "rate": "{condition}你刚刚选择了它。你给它打几分？最低 {low} 分，最高 {high} 分。\n[A] {title}\n只回答数字。",
        "content": "{condition}你对目前的推荐满意吗？请只回答 Yes（是）或 No（否）。",
        "leave": "{condition}{tired}你现在离开吗？请只回答 Yes（是）或 No（否）。",
        "stay": "{condition}{tired}你再看一页吗？请只回答 Yes（是）或 No（否）。",
        "grade": "{condition}你已经离开。推荐有多适合你？从 0（完全不适合）到 9（非常适合），只回答数字。",
        "page_text": "{condition}这一页显示：\n{options}\n请对全部 {n} 个作出判断，每行一个，先写方括号中的字母或数字，"
        "评分从 {low} 到 {high}：\n[字母] 适合: 是或否; 选择: 是或否; 评分: 数字（若选择）",
        "page_json": "{condition}这一页显示：\n{options}\n请对全部 {n} 个作出判断：是否符合喜好，现在是否{act}，"
        "以及评分（{low} 到 {high}）。只输出 JSON："
        '{{"items": [{{"handle": "...", "suits": true, "take": false, "rating": 3}}, ...]}}',
        "decide_text": "{condition}{tired}你对目前的推荐满意吗？现在离开吗？请按此格式回答："
        "满意: 是或否; 离开: 是或否; 理由: 一句短话",
        "decide_json": "{condition}{tired}你对目前的推荐满意吗？现在离开吗？只输出 JSON："
        '{{"content": true, "leave": false, "why": "..."}}',
        "ask_text": "{condition}你已经离开。推荐有多适合你？从 1（完全不适合）到 10（非常适合）。请按此格式回答："
        "分数: 数字; 理由: 一句短话",
        "ask_json": "{condition}你已经离开。推荐有多适合你？从 1（完全不适合）到 10（非常适合）。只输出 JSON："
        '{{"score": 5, "why": "..."}}',
        "describe": "你评分最高的有：{liked}。\n你评分最低的有：{disliked}。\n"
        "请用一两句以“我”开头的话说明你喜欢什么样的{noun}"
        "以及原因，不要提到任何标题。",
        "often": "常见{values}。",
        "unknown": "目前未知。",
        "none": "无",
        "fresh": "你不累。",
        "tired": "你已经看了好几页，有点累。",
        "weary": "你已经看了很多页，非常累。",
        "fact": "第 {page} 页显示了{shown}。你选择了{taken}；不适合你的：{passed}。",
        "rated": "{title}（{value} 分）",
        "happy": "看完第 {page} 页你是满意的。",
        "unhappy": "看完第 {page} 页你不满意。",
        "sum": "目前显示的 {shown} 个中，{aligned} 个适合你，你喜欢 {liked} 个。",
        "others": "大家给 {value} 分",
        "yes": "Yes",
        "no": "No",
    },
)
LANGS = ("en", "zh")
TASTE, TITLE, LINE = 80, 80, 200  # tokens of a taste; characters of a title and of a line
OFTEN = 4  # tags of a counted taste


@dataclass
class Personas:
    """Users in words.

    known: their newest events. facts: item attributes beside a title. tags: what a taste counts. encoder: recalls
    memories; None = by shared words. One that learns does so from what the items read like.
    """

    known: Known
    prompts: Prompts
    domain: str
    facts: Sequence[str]
    tags: str
    encoder: Encoder | None = None

    def fit(self, data: Dataset, means: Floats) -> Personas:
        """Keep events, and how the items read. means: (n_items,) mean ratings, NaN = none."""
        self.known_ = self.known.fit(data)
        self.lang_ = data.catalog.lang
        self._read(data.catalog, means)
        read = self.lines_[_key(self.lang_)]
        self.encoder_ = None if self.encoder is None else taught(self.encoder, read.tolist())
        return self

    def extend(self, catalog: Catalog, means: Floats) -> Personas:
        """The same users before a grown catalog."""
        made = copy.copy(self)
        made._read(catalog, means)
        return made

    def _read(self, catalog: Catalog, means: Floats) -> None:
        rows = np.arange(len(catalog))
        own = {lang: titles(catalog, rows, lang, TITLE) for lang in LANGS}
        self.table_ = catalog.items
        self.titles_ = {lang: strings(own[lang]) for lang in LANGS}
        self.lines_ = {lang: strings(self._lines(catalog, own[lang], means, lang)) for lang in LANGS}
        column = catalog.attributes.get(self.tags)
        held = Tags.of(column if column is not None else strings([None] * len(catalog)))
        self.held_, self.names_ = held.matrix, list(held.names)

    def _lines(self, catalog: Catalog, own: Sequence[str], means: Floats, lang: str) -> list[str]:
        """Title, facts, what others give, and the first words of the text: what a page shows of an item."""
        names = [name for name in present_fields(catalog, self.facts) if name in catalog.attributes]
        texts, made = catalog.words("text", lang), []
        for row, title in enumerate(own):
            told = [value_text(catalog.attributes[name][row]) for name in names]
            if not np.isnan(means[row]):
                told.append(self.prompts.text(lang, "others", value=f"{means[row]:.1f}"))
            told += [str(texts[row] or "")]
            facts = "; ".join(one for one in told if one)
            made.append(clean(f"{title} ({facts})" if facts else title, LINE))
        return made

    def shown(self, rows: Sequence[int], lang: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Titles and lines of some rows."""
        index, key = list(rows), _key(lang)
        return tuple(self.titles_[key][index].tolist()), tuple(self.lines_[key][index].tolist())

    # ------------------------------------------------------------ who it is
    def tastes(self, visits: Sequence[Visit], lm: LanguageModel | None) -> list[str]:
        """A taste in words for each visit: written by the model, or the most frequent tags of what was liked."""
        past = [self._past(visit) for visit in visits]
        made = [self._counted(liked, visit.lang) for visit, (liked, _) in zip(visits, past, strict=True)]
        some = [i for i, (liked, disliked) in enumerate(past) if liked or disliked] if lm is not None else []
        prompts = []
        for i in some:
            lang, names = visits[i].lang, [self._joined(rows, visits[i].lang) for rows in past[i]]
            text = self._text(lang, "describe", liked=names[0], disliked=names[1])
            prompts.append(Prompt.user(text, max_tokens=TASTE, seed=visits[i].seed))
        for i, answer in zip(some, lm.generate(prompts) if lm is not None and prompts else [], strict=True):
            said = clean(answer.text, SAID) if answer.good else ""
            if said:
                made[i] = said
            else:
                degrade("no taste was written: frequent tags stand in its place")
        return made

    def _counted(self, liked: Sequence[int], lang: str) -> str:
        counts: Counter[str] = Counter()
        for row in liked:
            part = slice(*self.held_.indptr[row : row + 2])
            counts.update(self.names_[place] for place in self.held_.indices[part].tolist())
        values = ", ".join(name for name, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:OFTEN])
        return self._text(lang, "often", values=clean(values)) if values else self._text(lang, "unknown")

    def _past(self, visit: Visit) -> tuple[list[int], list[int]]:
        """Rows of the newest liked and not liked events, oldest first."""
        events = self.known_.events(visit.user, self.table_.ids)
        rows = self.table_.rows([event.item for event in events]).tolist()
        liked = [row for row, event in zip(rows, events, strict=True) if event.kind == "like"]
        return liked, [row for row, event in zip(rows, events, strict=True) if event.kind != "like"]

    def before(self, visit: Visit, who: Persona, rows: Sequence[int], recall: int) -> str:
        """What stands in front of every question: who it is, what was liked, and the memories that matter here."""
        lang, (liked, disliked) = visit.lang, self._past(visit)
        made = [self._text(lang, "role"), *(self._text(lang, f"{name}{getattr(who, name)}") for name in NAMES)]
        made.append(self._text(lang, "taste", taste=clean(visit.taste, SAID)))
        if liked:
            own = self.titles_[_key(lang)][liked].tolist()
            made.append(self._text(lang, "liked", history=numbered(own)))
        if disliked:
            made.append(self._text(lang, "disliked", history=self._joined(disliked, lang)))
        if not liked and not disliked:
            made.append(self._text(lang, "nothing"))
        kept = recalled(visit.memory, self._joined(rows, lang), visit.page, recall, self.encoder_) if recall else []
        if kept:
            made.append(self._text(lang, "memory", memory="\n".join(clean(one.text, SAID) for one in kept)))
        return "".join(made)

    # ------------------------------------------------------------ what is remembered
    def fact(self, scene: Scene, judged: Sequence[Judged]) -> str:
        """What a page showed and what was done."""
        lang = scene.visit.lang
        pairs = list(zip(scene.titles, judged, strict=True))
        taken = [
            title if one.rating != one.rating else self._text(lang, "rated", title=title, value=f"{one.rating:g}")
            for title, one in pairs
            if one.watched
        ]
        passed = [title for title, one in pairs if not one.aligned]
        return self._text(
            lang, "fact", page=scene.visit.page, shown=self._said(scene.titles, lang), taken=self._said(taken, lang),
            passed=self._said(passed, lang),
        )  # fmt: skip

    def feeling(self, visit: Visit, mood: Mood) -> str:
        """Content or not after a page, and why."""
        piece = "happy" if mood.content else "unhappy"
        return " ".join([self._text(visit.lang, piece, page=visit.page), *([mood.why] if mood.why else [])])

    def reason(self, visit: Visit) -> str:
        """What the pages came to."""
        shown, aligned, _, liked = (sum(row[n] for row in visit.tally) for n in range(4))
        return self._text(visit.lang, "sum", shown=shown, aligned=aligned, liked=liked)

    def _joined(self, rows: Sequence[int], lang: str) -> str:
        return self._said(self.titles_[_key(lang)][list(rows)].tolist(), lang)

    def _said(self, names: Sequence[str], lang: str) -> str:
        return "; ".join(names) if names else self._text(lang, "none")

    def _text(self, lang: str, piece: str, **slots: Any) -> str:
        return self.prompts.text(lang, piece, **domain_words(self.domain, lang), **slots)


def _key(lang: str) -> str:
    return "zh" if lang.startswith("zh") else "en"
