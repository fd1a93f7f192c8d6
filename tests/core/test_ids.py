import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import DataError, IdTable, LineageError, digest, same_lineage, strings

IDS = st.lists(st.text(max_size=6), unique=True, max_size=8)


@given(IDS, st.lists(st.text(max_size=6), max_size=8))
def test_rows_are_places_and_unknown_ids_are_minus_one(ids, asked):
    table = IdTable.of(ids)
    assert table.rows(asked).tolist() == [ids.index(one) if one in ids else -1 for one in asked]
    assert table.rows(asked).dtype == np.int32
    assert all((one in table) == (one in ids) for one in asked) and len(table) == len(ids)


@given(IDS, st.lists(st.lists(st.text(max_size=6), max_size=5), max_size=4))
def test_extending_never_renumbers_and_keeps_the_lineage(ids, additions):
    table = IdTable.of(ids)
    known = dict(zip(ids, range(len(ids)), strict=True))
    grown = table
    for more in additions:
        grown = grown.extend(more)
        for one in more:
            known.setdefault(one, len(known))
        assert grown.ids.tolist() == list(known) and grown.key == table.key
    assert table.ids.tolist() == ids


@given(IDS, IDS)
def test_translate_maps_by_id_between_lineages(ours, theirs):
    one, other = IdTable.of(ours, "a"), IdTable.of(theirs, "b")
    assert one.translate(other).tolist() == [ours.index(i) if i in ours else -1 for i in theirs]


def test_translate_inside_a_lineage_knows_which_rows_came_later():
    old = IdTable.of(["a", "b"])
    new = old.extend(["c"])
    assert new.translate(old).tolist() == [0, 1] and old.translate(new).tolist() == [0, 1, -1]


def test_a_repeated_id_is_refused_by_name():
    with pytest.raises(DataError, match="'b' occurs twice"):
        IdTable.of(["a", "b", "b"])


def test_the_key_follows_from_the_first_ids_unless_given():
    assert IdTable.of(["a"]).key == IdTable.of(["a"]).key != IdTable.of(["b"]).key
    assert IdTable.of(["a"], "mine").key == "mine"


def test_strings_never_nests_or_truncates():
    made = strings(["a", ("b", "c"), None, "a much longer text"])
    assert made.shape == (4,) and made.dtype == object and made[1] == ("b", "c") and made[3] == "a much longer text"


@pytest.mark.parametrize(("one", "other"), [
    (("ab", "c"), ("a", "bc")), ((["a", "b"],), (["ab"],)), ((np.zeros(2),), (np.zeros((2, 1)),)),
    ((np.zeros(2, np.float32),), (np.zeros(1, np.float64),)), ((1,), ("1",)), (([],), ([""],)),
])  # fmt: skip
def test_digest_tells_values_apart_that_are_easily_confused(one, other):
    assert digest(*one) != digest(*other)


def test_digest_takes_any_text_and_strided_arrays():
    assert digest("\ud800") == digest("\ud800")
    wide = np.arange(6).reshape(2, 3)
    assert digest(wide[:, ::2]) == digest(wide[:, ::2].copy()) and len(digest()) == 32


def test_rows_of_two_lineages_do_not_meet():
    same_lineage("a", "a")
    with pytest.raises(LineageError, match="catalog bbbbbbbb used with catalog aaaaaaaa"):
        same_lineage("a" * 20, "b" * 20)
