"""What the options on pages of a tree are worth: as a model is asked, by a draw, or to someone who knows the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hexarec.core import Lists, digest, rng
from hexarec.parts.ask import Question
from hexarec.parts.domain import domain_words
from hexarec.parts.itemtree import NOWHERE, ItemTree
from hexarec.parts.prompts import Prompts
from hexarec.parts.treepages import TreePages
from hexarec.parts.treesearch import Batch, Opened, Worth
from hexarec.parts.treewalk import Page
from hexarec.parts.worded import Worded


def page_question(batch: Batch, opened: Opened, pages: TreePages, prompts: Prompts, domain: str) -> Question:
    """The closed list of a page, for a model. prompts: the pieces of `parts.worded`, with node, leaf and leaves."""
    i, page = opened
    lang, condition = batch.queries.lang[i], batch.conditions[i]
    words = domain_words(domain, lang)
    heading = "leaf" if page.items else "node"
    if page.node == NOWHERE and "leaves" in prompts.en:  # wording of an older version has one for all items
        heading = "leaves"
    words |= {"heading": prompts.text(lang, heading, **words)}
    options = tuple(pages.options(page, batch.queries.catalog, lang, batch.permitted[i]))
    wording, drawn = Worded(prompts, lang, words, condition), (digest(condition, options),)
    return Question(wording, options, drawn, batch.seeds[i], int(batch.queries.user[i]))


def drawn_worth(batch: Batch, pages: Sequence[Opened], word: str) -> list[NDArray[np.float64]]:
    """Numbers drawn for each page of each question alone: a control."""
    return [rng(batch.seeds[i], word, str(page)).random(len(page.options)) for i, page in pages]


def knowing(tree: ItemTree, truth: Lists) -> Worth:
    """Someone who knows the true items of each question: 1 for an option that is one or lies above one, else 0."""
    return lambda pages: [_leads(tree, page, truth[i].items) for i, page in pages]


def _leads(tree: ItemTree, page: Page, true: NDArray[np.int32]) -> NDArray[np.float64]:
    leaves = tree.leaf_of_[true[true < len(tree.leaf_of_)]]
    right = set(true.tolist()) if page.items else {node for leaf in leaves.tolist() for node in tree.line(leaf)}
    return np.array([float(option in right) for option in page.options])
