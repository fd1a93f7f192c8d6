"""LLMTreeRec: the catalog as a tree, of which a model opens only the branches that suit the user.

Source:  Zhang et al. 2024, COLING 2025, arXiv:2404.00702; survey section 1.3.
Idea:    a catalog does not fit in a prompt, a page of branches does: from the root down, the model chooses among the
         children of a node, then among the items of a leaf, and nothing has to be learned from interactions.
Differs: the tree is built from the catalog alone (the released loader adds the test users' items); leaves and pages are
         bounded by items and tokens, and what is too large is split by text; choices are closed lists, so a branch
         cannot be invented; where an answer is of no use the nearest text decides, and `degraded` says so; a search
         that ends early goes back to branches it passed over; interests and history begin every question, so that an
         engine reads them once.
Cost:    one call for the interests and one a page: nodes and leaves that are opened, whatever the size of the catalog.
Needs:   text, an encoder; with choose="model" a model that can do what the back end of the question needs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.core import (
    CapabilityError,
    Catalog,
    Dataset,
    Evidence,
    Lists,
    OptionError,
    Queries,
    at_least,
    degrade,
    digest,
    ready,
    rng,
    same_lineage,
)
from hexarec.lm.base import Encoder, LanguageModel, Prompt
from hexarec.lm.engine import rough_count
from hexarec.parts.ask import LETTERS, Ask, Backend, Question
from hexarec.parts.attributes import values_of
from hexarec.parts.bm25 import tokenise
from hexarec.parts.domain import domain_words, known_domain
from hexarec.parts.encoded import item_texts
from hexarec.parts.itemtree import ItemTree, Material, View
from hexarec.parts.prompts import Prompts
from hexarec.parts.render import clean, numbered, titles
from hexarec.parts.textspace import TextSpace
from hexarec.parts.treepages import MEMBERS, TreePages, item_sizes
from hexarec.parts.treewalk import WAYS, Found, Page, side_by_side
from hexarec.parts.worded import Worded

PROMPTS = Prompts(
    "llmtreerec",
    1,
    en={
        "history": "{noun} I have {verb}, oldest first:\n{history}\n",
        "nothing": "Nothing is known yet of what I have {verb}.\n",
        "request": "What I ask for: {request}\n",
        "interests": "{condition}Which interests do these show? Name them in order of importance, in one or two short "
        "sentences, without any titles.",
        "told": "My interests: {interests}\n",
        "node": "Branches of a catalog of {noun}, with examples:",
        "leaf": "{noun} of one branch of a catalog:",
        "choice": "{condition}{heading}\n{options}\nWhich one fits my interests best? Answer with its letter only.",
        "list": "{condition}{heading}\n{options}\nRank these {n} by how well they fit my interests. Answer with the "
        "ranking only, one per line: order number, letter or number in brackets, name. Use all of them and no others.",
        "json": "{condition}{heading}\n{options}\nRank these {n} by how well they fit my interests. Answer with JSON: "
        '{{"ranking": [the letter or number of every one of them, best first]}}.',
        "pointwise": "{condition}Does this fit my interests?\n[A] {title}\nAnswer Yes or No.",
        "pairwise": "{condition}Which one fits my interests better?\n[A] {first}\n[B] {second}\nAnswer A or B.",
        "lead": "{condition}What fits my interests:",
        "lead_bare": "What fits:",
        "name": "These {noun} stand together in a catalog:\n{members}\nWhat do they have in common? Answer with two to "
        "four words.",
        "yes": "Yes",
        "no": "No",
    },
    zh={
        "history": "我{verb}的{noun}（由旧到新）：\n{history}\n",
        "nothing": "目前不知道我{verb}什么。\n",
        "request": "我的要求：{request}\n",
        "interests": "{condition}这些体现了哪些兴趣？请按重要程度用一两句简短的话写出，不要提到任何标题。",
        "told": "我的兴趣：{interests}\n",
        "node": "{noun}目录的分支（附有例子）：",
        "leaf": "目录中一个分支的{noun}：",
        "choice": "{condition}{heading}\n{options}\n哪一个最符合我的兴趣？只回答它的字母。",
        "list": "{condition}{heading}\n{options}\n请按符合我兴趣的程度为这 {n} 个排序。只输出排序结果："
        "每行一个，写出序号、方括号中的字母或数字以及名称。所有的都要排序，不要写列表之外的内容。",
        "json": "{condition}{heading}\n{options}\n请按符合我兴趣的程度为这 {n} 个排序。"
        '只输出 JSON：{{"ranking": [所有的字母或数字，最符合的在前]}}。',
        "pointwise": "{condition}它符合我的兴趣吗？\n[A] {title}\n请回答是或否。",
        "pairwise": "{condition}以下两个中，哪一个更符合我的兴趣？\n[A] {first}\n[B] {second}\n请回答 A 或 B。",
        "lead": "{condition}符合我兴趣的是：",
        "lead_bare": "符合兴趣的是：",
        "name": "以下{noun}在目录中放在一起：\n{members}\n它们有什么共同点？请用两到四个词回答。",
        "yes": "是",
        "no": "否",
    },
)
REQUEST, LABEL = 300, 60  # characters
BLOCK = 256  # questions whose walks run side by side


@dataclass(frozen=True)
class _Asked:
    """A batch under way. permitted: (n, items). taste: (n, d). conditions: what begins each question of a user."""

    queries: Queries
    permitted: NDArray[np.bool_]
    taste: NDArray[np.float32]
    conditions: list[str]
    truth: Lists | None


@dataclass
class LLMTreeRec:
    """Retrieval by choosing branches of a tree over the catalog, without any interactions.

    encoder: texts to vectors, for groups of the tree and as the chooser that needs no model. lm: the model that
    chooses; None without one. choose: model, embedding (nearest text) or random (a control). backend: how a page is
    asked (see `parts.ask`). search: depth (the paper), beam (the released code) or proportional (shares of the list).
    per_leaf: items taken of a leaf; smaller is more varied and more calls. width: children of a node that are opened,
    or kept of a level by beam. levels: attributes that make the tree, coarse to fine, where the catalog has them; one
    named twice parts the items of one value by their next. leaf: items of a leaf at most; the paper's 50 with back ends
    other than choice. branch: children of a node at most. tokens: of the items of a leaf at most. examples: titles
    beside a branch. naming: words tells groups of texts apart by words, model lets the model name them. interests: ask
    the model for the interests first. history: newest liked events read. fields: what of an item is encoded. whiten:
    centre and whiten the vectors. dim: of whitened vectors. retries: of pages without any option in the answer. domain:
    film, product, game, book, news, music, item. prompts: the wording, English and Chinese.
    """

    encoder: Encoder
    lm: LanguageModel | None = None
    choose: Literal["model", "embedding", "random"] = "embedding"
    backend: Backend = "choice"
    search: Literal["depth", "beam", "proportional"] = "depth"
    per_leaf: int = 4
    width: int = 5
    levels: Sequence[str] = ("categories", "genres", "genres")
    leaf: int = 24
    branch: int = 12
    tokens: int = 700
    examples: int = 2
    naming: Literal["words", "model"] = "words"
    interests: bool = True
    history: int = 10
    fields: Sequence[str] = ("title", "categories", "genres", "keywords", "text")
    whiten: bool = True
    dim: int | None = 128
    retries: int = 1
    domain: str = "item"
    prompts: Prompts = PROMPTS

    def __post_init__(self) -> None:
        known_domain(self.domain)
        if self.search not in WAYS or self.choose not in ("model", "embedding", "random"):
            hint = f"search: {', '.join(WAYS)}; choose: model, embedding, random"
            raise OptionError(f"unknown search {self.search!r} or choose {self.choose!r}", hint=hint)
        if self.naming not in ("words", "model"):
            raise OptionError(f"unknown naming {self.naming!r}", hint="use words or model")
        if min(self.per_leaf, self.width, self.history) < 1 or min(self.examples, self.retries) < 0:
            raise OptionError("per_leaf, width and history are at least 1, examples and retries at least 0")
        at_least(self, dim=1)
        self._empty_tree()
        if self.choose == "model":
            self._check_model()
        if self.naming == "model" and (self.lm is None or "text" not in self.lm.can):
            raise CapabilityError(
                "naming='model' needs a model that writes text", hint="give lm, or use naming='words'"
            )

    def _check_model(self) -> None:
        if self.lm is None:
            raise OptionError("choose='model' needs lm", hint="give lm, or use choose='embedding'")
        self._ask.check(self.lm)
        if self.interests and "text" not in self.lm.can:
            raise CapabilityError(f"{self.lm.name} writes no text", hint="use interests=False")
        if self.backend == "choice" and max(self.leaf, self.branch) > len(LETTERS):
            raise OptionError(
                f"the back end 'choice' takes pages of at most {len(LETTERS)} options",
                hint=f"set leaf and branch to at most {len(LETTERS)}, or use another back end",
            )

    @property
    def _ask(self) -> Ask:
        return Ask(self.backend, retries=self.retries)

    def _empty_tree(self, seed: int = 0) -> ItemTree:
        return ItemTree(self.leaf, self.tokens, self.branch, seed=seed)

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Encode the catalog and build the tree; nothing of the log is read."""
        catalog = data.catalog
        self.key_, self.seed_ = catalog.key, seed
        self.space_ = TextSpace(self.encoder, self.fields, self.whiten, self.dim).fit(catalog)
        material = self._material(catalog)
        self.tree_ = self._empty_tree(seed).build(material, np.flatnonzero(catalog.alive).astype(np.int32))
        self._describe(catalog, material)
        return self

    def extend(self, catalog: Catalog) -> Self:
        """New items go down the tree to their leaf, withdrawn ones leave it; only the new text is encoded."""
        same_lineage(self.key_, catalog.key)
        made = copy.copy(self)
        made.space_ = self.space_.extend(catalog)
        material = made._material(catalog)
        inside = np.flatnonzero(self.tree_.leaf_of_ >= 0)
        gone = inside[~catalog.alive[inside]].astype(np.int32)
        coming = np.setdiff1d(np.flatnonzero(catalog.alive), inside).astype(np.int32)
        made.tree_ = self.tree_.insert(material, coming) if len(coming) else self.tree_
        made.tree_ = made.tree_.remove(material, gone) if len(gone) else made.tree_
        made._describe(catalog, material)
        return made

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The first k items that the search finds, each with its path as `why`.

        Notes hold, per query, `opened` (pages that were asked about), `shown` (options on them), `tokens` (of those
        options) and `condition` (tokens of the text in front of each page; 0 where no model is asked).
        """
        ready(self, queries)
        return self._found(queries, k, None)

    def retrieve_knowing(self, queries: Queries, truth: Lists, k: int) -> Lists:
        """The upper bound of the tree: every choice is made by someone who knows the true items. Not for serving."""
        ready(self, queries, truth)
        return self._found(queries, k, truth)

    def _found(self, queries: Queries, k: int, truth: Lists | None) -> Lists:
        if k < 1 or not len(queries):
            return Lists.empty(queries.catalog.key, len(queries))
        children, way, parts = self.tree_.children(), WAYS[self.search], []
        for place, part in queries.blocks(BLOCK):
            known = None if truth is None else truth.take(place)
            # an extended stage may know more rows than the catalog of older questions
            permitted = np.zeros((len(part), len(self.space_.vectors_)), bool)
            permitted[:, : len(part.catalog)] = ~part.forbidden(min(len(part.catalog), permitted.shape[1]))
            asked = _Asked(part, permitted, self.space_.taste(part, self.history), self._conditions(part), known)
            walks = [way(View(self.tree_, children, row), k, self.per_leaf, self.width) for row in asked.permitted]
            seen: list[tuple[int, Page]] = []
            found = side_by_side(walks, lambda pages, asked=asked, seen=seen: self._prefer(asked, pages, seen))  # type: ignore[misc]
            parts.append(self._lists(asked, found, seen))
        return Lists.join(parts)

    def _prefer(
        self, asked: _Asked, pages: Sequence[tuple[int, Page]], seen: list[tuple[int, Page]]
    ) -> list[list[int]]:
        """The options of each page in order of preference; what the chooser values alike goes by its text."""
        seen += pages
        if asked.truth is not None:
            first = [self._true(asked, i, page) for i, page in pages]
        elif self.choose == "model":
            first = self._said(asked, pages)
        elif self.choose == "random":
            first = [rng(self._seed(asked, i), "llmtreerec", str(page)).random(len(page.options)) for i, page in pages]
        else:
            first = [np.zeros(len(page.options)) for _, page in pages]
        made = []
        for (i, page), value in zip(pages, first, strict=True):
            rows = (self.space_.vectors_ if page.items else self.tree_.centres_)[list(page.options)]
            order = np.lexsort((-(rows @ asked.taste[i]), -value))
            made.append([page.options[place] for place in order.tolist()])
        return made

    def _true(self, asked: _Asked, i: int, page: Page) -> NDArray[np.float64]:
        truth = asked.truth[i].items if asked.truth is not None else np.zeros(0, np.int32)
        leaves = self.tree_.leaf_of_[truth[truth < len(self.tree_.leaf_of_)]]
        right = set(truth.tolist()) if page.items else {n for leaf in leaves.tolist() for n in self.tree_.line(leaf)}
        return np.array([float(option in right) for option in page.options])

    def _said(self, asked: _Asked, pages: Sequence[tuple[int, Page]]) -> list[NDArray[np.float64]]:
        """What the model values each option at; zeros where its answer is of no use."""
        questions = []
        for i, page in pages:
            lang = asked.queries.lang[i]
            words = domain_words(self.domain, lang)
            words |= {"heading": self.prompts.text(lang, "leaf" if page.items else "node", **words)}
            wording = Worded(self.prompts, lang, words, asked.conditions[i])
            options = tuple(self.pages_.options(page, asked.queries.catalog, lang, asked.permitted[i]))
            drawn, whose = (digest(asked.conditions[i], options),), int(asked.queries.user[i])
            questions.append(Question(wording, options, drawn, self._seed(asked, i), whose))
        assert self.lm is not None
        return [np.zeros(len(one.scores)) if one.fault else one.scores for one in self._ask(self.lm, questions)]

    def _seed(self, asked: _Asked, i: int) -> int:
        return int(asked.queries.seed[i]) + self.seed_

    def _conditions(self, queries: Queries) -> list[str]:
        """What stands in front of every page of a user: the history, the request, the interests."""
        if self.choose != "model" or self.lm is None:
            return [""] * len(queries)
        recent = queries.history.where(queries.history.liked).last(self.history)
        bare, empty = [], []
        for i in range(len(queries)):
            lang = queries.lang[i]
            lines = numbered(titles(queries.catalog, recent.item[slice(*recent.offsets[i : i + 2])], lang))
            words = domain_words(self.domain, lang)
            text = self.prompts.text(lang, "history" if lines else "nothing", history=lines, **words)
            request = clean(queries.text[i] or "", REQUEST) if queries.text is not None else ""
            bare.append(text + (self.prompts.text(lang, "request", request=request) if request else ""))
            empty.append(not lines and not request)
        if not self.interests:
            return bare
        some = [i for i in range(len(queries)) if not empty[i]]
        texts = [self.prompts.text(queries.lang[i], "interests", condition=bare[i]) for i in some]
        prompts = [
            replace(Prompt.user(text, max_tokens=80), whose=int(queries.user[i]))
            for i, text in zip(some, texts, strict=True)
        ]
        answers = self.lm.generate(prompts) if prompts else []
        for i, answer in zip(some, answers, strict=True):
            told = clean(answer.text, REQUEST) if answer.good else ""
            bare[i] += self.prompts.text(queries.lang[i], "told", interests=told) if told else ""
        bad = [answer for answer in answers if not answer.good]
        if bad:
            degrade(f"{len(bad)} of {len(answers)} interests: {bad[0].error or 'the model refused'}")
        return bare

    def _lists(self, asked: _Asked, found: Sequence[Found], seen: Sequence[tuple[int, Page]]) -> Lists:
        made = Lists.of(asked.queries.catalog.key, [[item for item, _ in one] for one in found])
        leaves = sorted({leaf for one in found for _, leaf in one})
        why = {leaf: place for place, leaf in enumerate(leaves)}
        evidence = tuple(Evidence("path", (), " > ".join(self.tree_.path(leaf))) for leaf in leaves)
        notes = [{"opened": 0, "shown": 0, "tokens": 0, "condition": 0} for _ in found]
        before = self._count(asked.conditions)
        for i, page in seen:
            told = (1, len(page.options), self.pages_.tokens(page), int(before[i]))
            for name, more in zip(notes[i], told, strict=True):
                notes[i][name] += more
        column = np.array([why[leaf] for one in found for _, leaf in one], np.int32)
        return replace(made.with_field("why", column), evidence=evidence, notes=tuple(notes))

    def _count(self, texts: Sequence[str]) -> NDArray[np.int64]:
        return np.asarray(rough_count(texts) if self.lm is None else self.lm.count(texts), np.int64)

    def _material(self, catalog: Catalog) -> Material:
        words = [tokenise(text) for text in item_texts(catalog, self.fields)]
        levels = [values_of(catalog, name) for name in self.levels if name in catalog.attributes]
        return Material(self.space_.vectors_, item_sizes(catalog, self._count), words, levels)

    def _describe(self, catalog: Catalog, material: Material) -> None:
        """Name new groups where the model does, and take in how the tree reads."""
        members = self.tree_.typical(material.vectors, MEMBERS)
        if self.naming == "model" and self.lm is not None:
            self._name(self.lm, catalog, members)
        self.pages_ = TreePages(self.examples)
        self.pages_.describe(self.tree_, members, material.sizes, catalog, self._count)

    def _name(self, lm: LanguageModel, catalog: Catalog, members: NDArray[np.int32]) -> None:
        """The model's words for new groups of texts; where it has none, the words that tell them apart stay."""
        groups = [node for node in self.tree_.new_nodes() if not self.tree_.values_[node]]
        words = domain_words(self.domain, catalog.lang)
        shown = [numbered(titles(catalog, members[node][members[node] >= 0], catalog.lang)) for node in groups]
        texts = [self.prompts.text(catalog.lang, "name", members=one, **words) for one in shown]
        answers = lm.generate([Prompt.user(text, max_tokens=16) for text in texts]) if texts else []
        for node, answer in zip(groups, answers, strict=True):
            self.tree_.labels_[node] = (clean(answer.text, LABEL) if answer.good else "") or self.tree_.labels_[node]
