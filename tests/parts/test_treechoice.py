from dataclasses import replace

import numpy as np
import pytest

from hexarec.core import Lists
from hexarec.data.worlds import world
from hexarec.lm.engine import rough_count
from hexarec.lm.open import open_encoder
from hexarec.methods.llmtreerec import PROMPTS
from hexarec.parts.itemtree import NOWHERE, ROOT, ItemTree, Material
from hexarec.parts.textspace import TextSpace
from hexarec.parts.treechoice import drawn_worth, knowing, page_question
from hexarec.parts.treepages import MEMBERS, TreePages, item_sizes
from hexarec.parts.treesearch import Batch
from hexarec.parts.treewalk import Page

WORLD = world("cold")
CATALOG, QUERIES = WORLD.data.catalog, WORLD.queries.take(slice(0, 4))
SPACE = TextSpace(open_encoder("tfidf"), ("title",), dim=None).fit(CATALOG)
STUFF = Material.of(CATALOG, SPACE.vectors_, item_sizes(CATALOG, rough_count), ("title",), ("genres",))
TREE = ItemTree(6, 700, 4).build(STUFF, np.flatnonzero(CATALOG.alive).astype(np.int32))
PAGES = TreePages(1)
PAGES.describe(TREE, TREE.typical(SPACE.vectors_, MEMBERS), STUFF.sizes, CATALOG, rough_count)


def batch_of(seed=3):
    return Batch.of(QUERIES, SPACE, 5, ["c"] * 4, seed)


def test_someone_who_knows_the_truth_values_what_leads_to_it():
    item = int(QUERIES.catalog.rows([str(CATALOG.items.ids[9])])[0])
    truth = Lists.of(CATALOG.key, [[item], []])
    leaf = int(TREE.leaf_of_[item])
    top = tuple(TREE.children()[ROOT])
    pages = [(0, Page(ROOT, top, False)), (0, Page(leaf, (8, item), True)), (1, Page(ROOT, top, False))]
    values = knowing(TREE, truth)(pages)
    assert [top[n] for n in np.flatnonzero(values[0])] == [TREE.line(leaf)[0]]
    assert values[1].tolist() == [0.0, 1.0] and not values[2].any()


def test_draws_are_for_the_question_and_the_page_alone():
    page, other = Page(ROOT, (1, 2, 3), False), Page(2, (4, 5, 6), False)
    batch = batch_of()
    both = drawn_worth(batch, [(0, page), (0, other)], "x")
    assert (both[1] == drawn_worth(batch, [(0, other)], "x")[0]).all() and (both[0] != both[1]).any()
    assert (both[0] != drawn_worth(batch_of(seed=4), [(0, page)], "x")[0]).any()


@pytest.mark.parametrize(
    ("node", "items", "heading"),
    [(ROOT, True, "of one branch"), (NOWHERE, True, "of several branches"), (ROOT, False, "Branches of a catalog")],
)
def test_a_page_is_a_closed_list_behind_the_condition(node, items, heading):
    options = (1, 2, 3)
    asked = page_question(batch_of(), (1, Page(node, options, items)), PAGES, PROMPTS, "film")
    text = asked.wording.choice("OPTIONS")
    assert text.startswith("c") and heading in text and len(asked.options) == 3
    assert (asked.seed, asked.whose) == (int(QUERIES.seed[1]) + 3, int(QUERIES.user[1]))


def test_wording_of_an_older_version_still_makes_every_page():
    old = replace(PROMPTS, en=without(PROMPTS.en, "leaves"), zh=without(PROMPTS.zh, "leaves"))
    asked = page_question(batch_of(), (1, Page(NOWHERE, (1, 2), True)), PAGES, old, "film")
    assert "of one branch" in asked.wording.choice("OPTIONS")


def without(pieces, name):
    return {key: text for key, text in pieces.items() if key != name}
