import numpy as np
import pytest

from hexarec.core import ModelError, run
from hexarec.data.worlds import world
from hexarec.lm.base import Completion
from hexarec.lm.engine import rough_count
from hexarec.lm.fake import Overlap
from hexarec.lm.open import open_encoder
from hexarec.methods.llmtreerec import PROMPTS
from hexarec.parts.itemtree import ItemTree, Material
from hexarec.parts.textspace import TextSpace
from hexarec.parts.treenames import name_groups
from hexarec.parts.treepages import MEMBERS, item_sizes

CATALOG = world("cold").data.catalog
SPACE = TextSpace(open_encoder("tfidf"), ("title",), dim=None).fit(CATALOG)
STUFF = Material.of(CATALOG, SPACE.vectors_, item_sizes(CATALOG, rough_count), ("title",), ())


def test_groups_are_named_by_the_model_and_keep_their_words_where_it_says_nothing():
    class Names(Overlap):
        said = Completion("Grand [B] things")

        def answer(self, prompt, within):
            assert "What do they have in common" in prompt.text
            return self.said

    bare = Material(STUFF.vectors, STUFF.sizes, STUFF.words)
    tree = ItemTree(6, 700, 4).build(bare, np.flatnonzero(CATALOG.alive).astype(np.int32))
    before, members = list(tree.labels_), tree.typical(bare.vectors, MEMBERS)
    mute, reasons = Names(), []
    mute.said = Completion("", "error", error="down")
    with pytest.raises(ModelError, match=r"(\d+) of \1 groups got no name .*: down"):
        name_groups(tree, members, mute, PROMPTS, CATALOG, "film")
    assert tree.labels_ == before
    mute.said = Completion(" ")
    with run(complain=reasons.append):
        name_groups(tree, members, mute, PROMPTS, CATALOG, "film")
    assert tree.labels_ == before and "groups got no name" in reasons[0] and len(reasons) == 1
    tree._made = tree._made[-1:]  # as after an insert: one group that stays without a name stops nobody
    mute.said = Completion("", "error", error="down")
    with run(complain=reasons.append):
        name_groups(tree, members, mute, PROMPTS, CATALOG, "film")
    assert reasons[1].startswith("1 of 1 groups got no name")
    tree = ItemTree(6, 700, 4).build(bare, np.flatnonzero(CATALOG.alive).astype(np.int32))
    name_groups(tree, members, Names(), PROMPTS, CATALOG, "film")
    assert set(tree.labels_[1:]) == {"Grand (B) things"}


def test_values_are_names_already():
    tree = ItemTree(30).build(Material(STUFF.vectors, STUFF.sizes, STUFF.words, [[["a"], ["b"]] * 60]), np.arange(60))
    before = list(tree.labels_)
    name_groups(tree, tree.typical(STUFF.vectors, MEMBERS), Overlap(), PROMPTS, CATALOG, "film")
    assert tree.labels_ == before and {"a", "b"} <= set(before)
