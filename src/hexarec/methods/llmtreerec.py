"""LLMTreeRec: the catalog as a tree, of which a model opens only the branches that suit the user.

Source:  Zhang et al. 2024, COLING 2025, arXiv:2404.00702; survey section 1.3.
Idea:    a catalog does not fit in a prompt, a page of branches does: from the root down, the model chooses among the
         children of a node, then among the items of a leaf, and nothing has to be learned from interactions.
Differs: the tree is built from the catalog alone (the released loader adds the test users' items); leaves and pages are
         bounded by items and tokens, and what is too large is split by text; choices are closed lists, so a branch
         cannot be invented; where an answer is of no use the nearest text decides, and `degraded` says so; a search
         that ends early goes back to branches it passed over; a beam that finds more than a list orders it in heats
         (the released code never asks its question for that); interests and history begin every question, so that an
         engine reads them once; five children of a node are opened, as in the released code (the paper: the top 10).
Cost:    one call for the interests and one a page: nodes and leaves that are opened, whatever the size of the catalog.
Needs:   text, an encoder; with choose="model" a model that can do what the back end of the question needs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.core import CapabilityError, Catalog, Dataset, Lists, OptionError, Queries, at_least, ready, same_lineage
from hexarec.core.options import choices, numbers
from hexarec.lm.base import Encoder, LanguageModel
from hexarec.lm.engine import rough_count
from hexarec.parts.ask import LETTERS, Ask, Backend
from hexarec.parts.domain import known_domain
from hexarec.parts.interests import Interests
from hexarec.parts.itemtree import ItemTree, Material
from hexarec.parts.prompts import Prompts
from hexarec.parts.require import fields_there
from hexarec.parts.textspace import TextSpace
from hexarec.parts.treechoice import drawn_worth, knowing, page_question
from hexarec.parts.treenames import name_groups
from hexarec.parts.treepages import MEMBERS, Count, TreePages, item_sizes
from hexarec.parts.treesearch import Batch, Opened, TreeSearch
from hexarec.parts.treewalk import WAYS

PROMPTS = Prompts(
    "llmtreerec",
    2,
    en={
        "history": "{noun} I have {verb}, oldest first:\n{history}\n",
        "nothing": "Nothing is known yet of what I have {verb}.\n",
        "request": "What I ask for: {request}\n",
        "interests": "{condition}Which interests do these show? Name them in order of importance, in one or two short "
        "sentences, without any titles.",
        "told": "My interests: {interests}\n",
        "node": "Branches of a catalog of {noun}, with examples:",
        "leaf": "{noun} of one branch of a catalog:",
        "leaves": "{noun} of several branches of a catalog:",
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
        "leaves": "目录中几个分支的{noun}：",
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
BLOCK = 256  # questions whose walks run side by side


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
        choices(self)
        numbers(self)
        at_least(self, per_leaf=1, width=1, history=1, examples=0, retries=0, dim=1)
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
        """Encode the catalog and build the tree; nothing of the log is read. Raises OptionError."""
        catalog = data.catalog
        fields_there(self, data)
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
        made.tree_ = self.tree_.updated(material, catalog.alive)
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
        way = WAYS[self.search]
        search = TreeSearch(self.tree_, self.pages_, self.space_.vectors_, way, self.per_leaf, self.width)
        parts = []
        for place, part in queries.blocks(BLOCK):
            batch = Batch.of(part, self.space_, self.history, self._conditions(part), self.seed_)
            worth = partial(self._worth, batch) if truth is None else knowing(self.tree_, truth.take(place))
            parts.append(search.lists(batch, k, worth, self._count))
        return Lists.join(parts)

    def _worth(self, batch: Batch, pages: Sequence[Opened]) -> list[NDArray[np.float64]]:
        """What the chooser values each option at; what it values alike, or says nothing of use on, goes by its text."""
        if self.choose == "model":
            assert self.lm is not None
            questions = [page_question(batch, one, self.pages_, self.prompts, self.domain) for one in pages]
            return [np.zeros(len(one.scores)) if one.fault else one.scores for one in self._ask(self.lm, questions)]
        if self.choose == "random":
            return drawn_worth(batch, pages, "llmtreerec")
        return [np.zeros(len(page.options)) for _, page in pages]

    def _conditions(self, queries: Queries) -> Sequence[str]:
        """What stands in front of every page of a user: the history, the request, the interests."""
        if self.choose != "model":
            return [""] * len(queries)
        interests = Interests(self.prompts, self.domain, self.history, self.lm if self.interests else None)
        return interests.conditions(queries, queries.text)

    @property
    def _count(self) -> Count:
        return rough_count if self.lm is None else self.lm.count

    def _material(self, catalog: Catalog) -> Material:
        sizes = item_sizes(catalog, self._count)
        return Material.of(catalog, self.space_.vectors_, sizes, self.fields, self.levels)

    def _describe(self, catalog: Catalog, material: Material) -> None:
        """Name new groups where the model does, and take in how the tree reads."""
        members = self.tree_.typical(material.vectors, MEMBERS)
        if self.naming == "model" and self.lm is not None:
            name_groups(self.tree_, members, self.lm, self.prompts, catalog, self.domain)
        self.pages_ = TreePages(self.examples)
        self.pages_.describe(self.tree_, members, material.sizes, catalog, self._count)
