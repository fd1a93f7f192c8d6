import numpy as np

from hexarec.data.worlds import world
from hexarec.lm.engine import rough_count
from hexarec.lm.open import open_encoder
from hexarec.parts.itemtree import ItemTree, Material
from hexarec.parts.textspace import TextSpace
from hexarec.parts.treepages import MEMBERS, TreePages, item_sizes
from hexarec.parts.treesearch import Batch, TreeSearch
from hexarec.parts.treewalk import WAYS

WORLD = world("cold")
CATALOG, QUERIES = WORLD.data.catalog, WORLD.queries.take(slice(0, 4))
SPACE = TextSpace(open_encoder("tfidf"), ("title",), dim=None).fit(CATALOG)
STUFF = Material.of(CATALOG, SPACE.vectors_, item_sizes(CATALOG, rough_count), ("title",), ("genres", "no such field"))
TREE = ItemTree(6, 700, 4).build(STUFF, np.flatnonzero(CATALOG.alive).astype(np.int32))
PAGES = TreePages(1)
PAGES.describe(TREE, TREE.typical(SPACE.vectors_, MEMBERS), STUFF.sizes, CATALOG, rough_count)
SEARCH = TreeSearch(TREE, PAGES, SPACE.vectors_, WAYS["depth"], 2, 3)


def batch_of(queries=QUERIES, conditions=("c",) * 4, seed=3, space=SPACE):
    return Batch.of(queries, space, 5, conditions, seed)


def alike(pages):
    return [np.zeros(len(page.options)) for _, page in pages]


def test_material_has_the_attributes_that_are_there_and_the_words_of_its_fields():
    assert len(STUFF.levels) == ("genres" in CATALOG.attributes) and len(STUFF.words) == len(CATALOG)
    assert STUFF.sizes.min() > 0


def test_an_extended_space_permits_nothing_beyond_the_catalog_of_a_question():
    class Wide:
        vectors_ = np.zeros((len(CATALOG) + 5, 3), np.float32)

        def taste(self, queries, last):
            return np.zeros((len(queries), 3), np.float32)

    made = batch_of(space=Wide())
    assert made.permitted.shape == (4, len(CATALOG) + 5) and not made.permitted[:, len(CATALOG) :].any()
    assert (made.permitted[:, : len(CATALOG)] == ~QUERIES.forbidden(len(CATALOG))).all()
    assert made.seeds == [int(one) + 3 for one in QUERIES.seed]


def test_items_come_with_their_path_and_with_what_was_opened():
    opened = [0] * len(QUERIES)

    def counted(pages):
        for i, _ in pages:
            opened[i] += 1
        return alike(pages)

    made = SEARCH.lists(batch_of(), 5, counted, rough_count)
    assert made.lengths.tolist() == [5] * 4
    paths = [" > ".join(TREE.path(int(TREE.leaf_of_[item]))) for item in made.items.tolist()]
    assert [made.evidence[why].detail for why in made.fields["why"].tolist()] == paths
    assert [note["opened"] for note in made.notes] == opened
    one = int(rough_count(["c"])[0])
    assert all(note["condition"] == one * note["opened"] and note["tokens"] > 0 for note in made.notes)


def test_options_of_equal_worth_go_by_their_text():
    batch, firsts = batch_of(), []

    def look(pages):
        for i, page in pages:
            if page.items:
                firsts.append((i, page.options[int(np.argmax(SPACE.vectors_[list(page.options)] @ batch.taste[i]))]))
        return alike(pages)

    made = SEARCH.lists(batch, 4, look, rough_count)
    assert firsts and all(item in made[i].items for i, item in firsts[: len(QUERIES)])


def test_worth_outranks_the_text():
    found = SEARCH.lists(batch_of(), 3, lambda p: [np.arange(len(one.options)) * 1.0 for _, one in p], rough_count)
    assert found.items.tolist() != SEARCH.lists(batch_of(), 3, alike, rough_count).items.tolist()
