import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core import OptionError, rng
from hexarec.parts.itemtree import NOWHERE, ROOT, ItemTree, Material, View
from hexarec.parts.treewalk import WAYS, Page, side_by_side
from hexarec.parts.vectors import unit


def material(n, seed=0, values=("a", "b", "c", "d"), size=3, levels=1):
    draw = rng(seed, "material")
    vectors = unit(draw.normal(size=(n, 8)).astype(np.float32))
    own = [[[values[v]] for v in draw.integers(len(values), size=n)] for _ in range(levels)]
    return Material(vectors, np.full(n, size, np.int64), [[f"w{i % 5}", f"x{i}"] for i in range(n)], own)


def checked(tree, stuff, rows):
    """Every row in exactly one leaf, every leaf and every page within its bounds, means of what is below."""
    children = tree.children()
    leaves = np.unique(tree.leaf_of_[tree.leaf_of_ != NOWHERE])
    assert sorted(np.flatnonzero(tree.leaf_of_ != NOWHERE).tolist()) == sorted(rows)
    for leaf in leaves.tolist():
        inside = tree.items(leaf)
        assert not children[leaf] and len(inside) <= tree.leaf
        assert len(inside) == 1 or stuff.sizes[inside].sum() <= tree.tokens
        assert np.allclose(tree.centres_[leaf], unit(stuff.vectors[inside].mean(0, keepdims=True))[0], atol=1e-5)
    for node, own in enumerate(children):
        assert len(own) <= tree.branch and all(child > node for child in own)
        assert own or node in leaves or (node == ROOT and not rows)
    return tree


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 120), st.integers(1, 12), st.integers(2, 6), st.integers(3, 60), st.integers(0, 10_000))
def test_every_item_is_in_one_leaf_and_every_page_is_bounded(n, leaf, branch, tokens, seed):
    stuff = material(n, seed, levels=seed % 3)
    checked(ItemTree(leaf, tokens, branch).build(stuff, np.arange(n)), stuff, list(range(n)))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 80), st.data())
def test_inserts_and_removals_keep_the_bounds(n, data):
    stuff = material(n, data.draw(st.integers(0, 99)), levels=2)
    inside = set(data.draw(st.sets(st.integers(0, n - 1))))
    tree = ItemTree(5, 40, 4).build(stuff, np.array(sorted(inside), np.int32))
    for _ in range(3):
        coming = set(data.draw(st.sets(st.integers(0, n - 1)))) - inside
        tree = checked(tree.insert(stuff, np.array(sorted(coming), np.int32)), stuff, inside := inside | coming)
        gone = set(data.draw(st.sets(st.sampled_from(sorted(inside))))) if inside else set()
        tree = checked(tree.remove(stuff, np.array(sorted(gone), np.int32)), stuff, inside := inside - gone)


def test_inserting_and_removing_leave_the_old_tree_alone():
    stuff = material(60)
    tree = ItemTree(5).build(stuff, np.arange(40))
    before = (list(tree.parent_), tree.leaf_of_.copy(), list(tree.labels_))
    tree.insert(stuff, np.arange(40, 60)).remove(stuff, np.arange(0, 30))
    assert tree.parent_ == before[0] and (tree.leaf_of_ == before[1]).all() and tree.labels_ == before[2]


def test_a_tree_follows_what_is_alive():
    stuff, alive = material(60, levels=2), np.arange(60) % 3 > 0
    tree = ItemTree(5, 40, 4).build(stuff, np.arange(40))
    checked(tree.updated(stuff, alive), stuff, np.flatnonzero(alive).tolist())
    assert tree.updated(stuff, np.arange(60) < 40) is tree


def test_a_new_item_goes_to_the_branch_of_its_value():
    stuff = material(60, values=("red", "blue"))
    tree = ItemTree(8).build(stuff, np.arange(59))
    tree = tree.insert(stuff, np.array([59]))
    assert tree.path(int(tree.leaf_of_[59]))[0] == stuff.levels[0][59][0]


def test_a_branch_that_got_small_becomes_a_leaf():
    stuff = material(40, values=("red", "blue"))
    tree = ItemTree(8).build(stuff, np.arange(40))
    left = [row for row in range(40) if stuff.levels[0][row] == ["red"]][:3]
    made = tree.remove(stuff, np.setdiff1d(np.arange(40), left).astype(np.int32))
    assert len(made.parent_) == 1 and made.items(ROOT).tolist() == left


def test_rare_values_share_a_child_and_values_beyond_a_page_are_bundled():
    own = [["x"]] * 20 + [["rare1"], ["rare2"]] + [["y"]] * 20
    stuff = Material(material(42).vectors, np.ones(42, np.int64), [["w"]] * 42, [own])
    tree = ItemTree(20, 700, 12).build(stuff, np.arange(42))
    assert sorted(tree.labels_[1:4]) == ["other", "x", "y"]
    many = Material(material(90).vectors, np.ones(90, np.int64), [["w"]] * 90, [[[f"v{i % 30:02}"] for i in range(90)]])
    bundled = checked(ItemTree(4, 700, 5).build(many, np.arange(90)), many, list(range(90)))
    ways = {path[-1] for path in map(bundled.path, np.unique(bundled.leaf_of_).tolist())}
    assert ways == {f"v{i:02}" for i in range(30)}  # every value has its leaf in the end


def test_of_several_values_the_one_whose_items_read_alike_is_taken():
    draw = rng(0, "values")
    near = {"war": np.eye(8)[0], "love": np.eye(8)[1]}
    kinds = [["war"]] * 10 + [["love"]] * 10
    rows = [near[kind[0]] + 0.1 * draw.normal(size=8) for kind in kinds] + [near["love"]]
    vectors = unit(np.array(rows, np.float32))
    stuff = Material(vectors, np.ones(21, np.int64), [["w"]] * 21, [[*kinds, ["war", "love"]]])
    tree = ItemTree(12).build(stuff, np.arange(21))
    assert tree.path(int(tree.leaf_of_[20])) == ["love"]


def test_a_value_on_the_path_does_not_part_its_items_again():
    first = [["drama"]] * 15 + [["comedy"]] * 15
    second = [[kind, "war" if i % 2 else "love"] for i, (kind,) in enumerate(first)]
    stuff = Material(material(30).vectors, np.ones(30, np.int64), [["w"]] * 30, [first, second])
    tree = ItemTree(10).build(stuff, np.arange(30))
    assert {tuple(tree.path(leaf)) for leaf in np.unique(tree.leaf_of_).tolist()} == {
        (kind, other) for kind in ("drama", "comedy") for other in ("war", "love")
    }


def test_groups_of_texts_are_labelled_by_the_words_that_tell_them_apart():
    vectors = np.repeat(np.eye(2, dtype=np.float32), 6, axis=0) + 0.01 * rng(1, "w").normal(size=(12, 2))
    words = [["film", "ship"]] * 6 + [["film", "horse"]] * 6
    tree = ItemTree(6, 700, 2).build(
        Material(unit(vectors.astype(np.float32)), np.ones(12, np.int64), words), np.arange(12)
    )
    assert sorted(label.split(", ")[0] for label in tree.labels_[1:]) == ["horse", "ship"]


@pytest.mark.parametrize("axes", [4, 0])
def test_equal_texts_are_still_split(axes):
    stuff = Material(np.full((50, axes), 0.5, np.float32), np.ones(50, np.int64), [["same"]] * 50)
    checked(ItemTree(4, 700, 3).build(stuff, np.arange(50)), stuff, list(range(50)))


def test_the_same_seed_gives_the_same_tree():
    stuff = material(80)
    first, second = (ItemTree(6, seed=3).build(stuff, np.arange(80)) for _ in range(2))
    assert first.parent_ == second.parent_ and (first.leaf_of_ == second.leaf_of_).all()


@pytest.mark.parametrize("options", [{"leaf": 0}, {"tokens": 0}, {"branch": 1}, {"least": 0}])
def test_bounds_that_are_none_are_refused(options):
    with pytest.raises(OptionError):
        ItemTree(**options)


def found_by(way, tree, permitted, liking, n=10, per_leaf=2, width=2):
    """What a walk finds when the options are preferred by `liking` (rows) or by the best row below (nodes)."""
    below = tree.children()
    asked = []

    def best(node):
        rows = tree.items(node)
        return max([liking[row] for row in rows if permitted[row]] + [best(c) for c in below[node]] + [-1.0])

    def answer(pages):
        asked.extend(page for _, page in pages)
        worth = [(lambda o, p=page: liking[o] if p.items else best(o)) for _, page in pages]
        return [sorted(page.options, key=lambda o, w=w: -w(o)) for (_, page), w in zip(pages, worth, strict=True)]

    walk = WAYS[way](View(tree, below, permitted), n, per_leaf, width)
    return side_by_side([walk], answer)[0], asked


@pytest.mark.parametrize("way", WAYS)
def test_a_walk_finds_distinct_permitted_items_and_asks_bounded_pages(way):
    stuff = material(150, levels=2)
    tree = ItemTree(9, 700, 6).build(stuff, np.arange(150))
    permitted = rng(5, "permitted").random(150) < 0.7
    liking = rng(6, "liking").random(150)
    found, asked = found_by(way, tree, permitted, liking)
    items = [item for item, _ in found]
    assert len(set(items)) == len(items) == 10 and permitted[items].all()
    assert all(tree.leaf_of_[item] == leaf for item, leaf in found)
    assert all(1 < len(page.options) <= 9 for page in asked)
    assert items[0] == int(np.argmax(np.where(permitted, liking, -1)))


@pytest.mark.parametrize("way", ["depth", "beam", "proportional"])
def test_nothing_permitted_finds_nothing_and_asks_nothing(way):
    tree = ItemTree(9).build(material(40), np.arange(40))
    assert found_by(way, tree, np.zeros(40, bool), np.zeros(40)) == ([], [])


def test_depth_first_goes_back_until_the_list_is_full():
    tree = ItemTree(5, 700, 3).build(material(60), np.arange(60))
    found, _ = found_by("depth", tree, np.ones(60, bool), np.arange(60.0), n=60, per_leaf=2, width=1)
    assert len({item for item, _ in found}) == 60  # width 1 opens one leaf; the rest are branches passed over


def test_fewer_items_of_a_leaf_open_more_leaves():
    tree = ItemTree(8, 700, 6).build(material(150), np.arange(150))
    leaves, pages = [], []
    for per_leaf in (1, 2, 5):
        found, asked = found_by("depth", tree, np.ones(150, bool), np.arange(150.0), per_leaf=per_leaf, width=6)
        leaves.append(len({leaf for _, leaf in found}))
        pages.append(len(asked))
    assert leaves[0] > leaves[1] > leaves[2] and pages[0] > pages[1] > pages[2]


def test_a_level_too_wide_for_a_page_is_decided_in_heats():
    tree = ItemTree(2, 700, 4).build(material(64, levels=0), np.arange(64))
    _, asked = found_by("beam", tree, np.ones(64, bool), np.arange(64.0), width=4)
    assert all(len(page.options) <= 4 for page in asked)


def test_shares_are_whole_and_add_up():
    from hexarec.parts.treewalk import _split

    for share in range(1, 30):
        for ways in range(1, 6):
            parts = _split(share, ways, 2)
            assert sum(parts) == share and all(parts) and parts == sorted(parts, reverse=True)


def test_a_round_of_all_walks_is_one_question():
    tree = ItemTree(5, 700, 3).build(material(40), np.arange(40))
    rounds = []

    def answer(pages):
        rounds.append(len(pages))
        return [list(page.options) for _, page in pages]

    views = [View(tree, tree.children(), np.ones(40, bool)) for _ in range(7)]
    side_by_side([WAYS["depth"](view, 4, 2, 2) for view in views], answer)
    assert rounds[0] == 7 and len(rounds) < 12
    assert isinstance(Page(0, (1, 2), True).options, tuple)
