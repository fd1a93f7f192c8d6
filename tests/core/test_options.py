from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest
from scipy.sparse import csr_array

from hexarec.core import (
    IdTable,
    OptionError,
    PerUser,
    StateError,
    choices,
    fitted,
    forget,
    fresh,
    learned,
    option_names,
    options_digest,
    ready,
    variant,
    with_defaults,
)
from hexarec.core.options import MEMO_SIZE, check_options, clear_memo, numbers

from .makers import data_of


@dataclass
class Counts:
    scale: float = 1.0
    inner: Any = None
    fits: list[int] = field(default_factory=list, init=False, compare=False)

    def fit(self, data, *, seed=0):
        self.fits.append(seed)
        self.total_ = self.scale * len(data.interactions)
        self.inner_ = None if self.inner is None else fitted(self.inner, data, seed)
        return self


@pytest.fixture(autouse=True)
def empty_memo():
    clear_memo()


def test_options_are_the_constructor_and_learned_state_ends_in_an_underscore():
    stage = Counts(2.0)
    stage.fit(data_of([(0, 0, 1)]))
    stage._cache_, stage.strange__ = 1, 2
    assert option_names(stage) == option_names(Counts) == ["scale", "inner"]
    assert learned(stage) == {"total_": 2.0, "inner_": None}


def test_fresh_forgets_and_variant_keeps_what_was_learned():
    stage = Counts().fit(data_of([(0, 0, 1)]))
    assert learned(fresh(stage)) == {} and learned(stage)["total_"] == 1.0
    other = variant(stage, scale=5.0)
    assert (other.scale, other.total_, stage.scale) == (5.0, 1.0, 1.0)


def test_options_at_their_defaults_leave_the_others_and_nothing_learned():
    stage = Counts(5.0, Counts(2.0)).fit(data_of([(0, 0, 1)]))
    other = with_defaults(stage, ["scale"])
    assert (other.scale, other.inner, learned(other)) == (1.0, Counts(2.0), {}) and stage.scale == 5.0


def test_a_stage_is_ready_once_it_is_fitted():
    stage = Counts()
    with pytest.raises(StateError, match="Counts is not fitted"):
        ready(stage)
    stage.key_ = "k"
    ready(stage)


def test_an_option_that_does_not_exist_is_refused_with_the_one_meant():
    with pytest.raises(
        OptionError, match=r"Counts has no option 'scael'\n  -> did you mean 'scale'\? options: scale, inner"
    ):
        variant(Counts(), scael=1)
    check_options(Counts, ["inner"])


def test_a_stage_is_fitted_once_per_options_data_and_seed():
    data, other = data_of([(0, 0, 1)]), data_of([(0, 1, 1)])
    stage = Counts()
    made = fitted(stage, data, 1)
    assert made is fitted(Counts(), data, 1) and not hasattr(stage, "total_")
    assert (
        len({id(made), id(fitted(stage, data, 2)), id(fitted(stage, other, 1)), id(fitted(Counts(2.0), data, 1))}) == 4
    )


def test_what_is_learned_does_not_change_which_stage_it_is():
    data = data_of([(0, 0, 1)])
    assert options_digest(Counts().fit(data)) == options_digest(Counts())
    assert fitted(Counts().fit(data), data) is fitted(Counts(), data)


def test_nested_stages_count_and_are_shared():
    data, shared = data_of([(0, 0, 1)]), Counts(3.0)
    one, two = fitted(Counts(1.0, shared), data), fitted(Counts(2.0, shared), data)
    assert one.inner_ is two.inner_ is fitted(Counts(3.0), data)
    assert options_digest(Counts(1.0, Counts(3.0))) != options_digest(Counts(1.0, Counts(4.0)))


def test_a_stage_without_fit_is_itself():
    thing = object()
    assert fitted(thing, data_of([])) is thing


def test_the_memo_has_an_end():
    data = data_of([])
    first = fitted(Counts(0.0), data)
    for n in range(MEMO_SIZE):
        fitted(Counts(float(n + 1)), data)
    assert fitted(Counts(0.0), data) is not first


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Counts(1), Counts("1")),
        (Counts(inner=[1, [2]]), Counts(inner=[[1], 2])),
        (Counts(inner={"a": 1}), Counts(inner={"a": 2})),
        (Counts(inner=np.zeros(2)), Counts(inner=np.zeros(3))),
        (Counts(inner=None), Counts(inner="None")),
    ],
)
def test_options_that_differ_have_different_digests(one, other):
    assert options_digest(one) != options_digest(other)


def test_models_with_other_options_are_other_stages():
    from hexarec.lm.fake import PositionBiased

    assert options_digest(Counts(inner=PositionBiased(strength=1.0))) != options_digest(
        Counts(inner=PositionBiased(strength=0.0))
    )


def test_what_a_model_has_answered_does_not_change_the_stage_but_its_settings_do(tmp_path):
    from hexarec.lm.base import Prompt
    from hexarec.lm.cassette import Cassette
    from hexarec.lm.open import open_lm

    kept = Counts(inner=Cassette(open_lm("tiny:a"), tmp_path / "tape.sqlite"))
    before = options_digest(kept)
    for _ in range(2):
        kept.inner.generate([Prompt.plain("hello", max_tokens=3)])
    assert kept.inner.hits and kept.inner.misses and options_digest(kept) == before
    other = Counts(inner=Cassette(open_lm("tiny:a", window=99), tmp_path / "tape.sqlite"))
    assert options_digest(other) != before, "a wrapped model's own settings count"


@dataclass
class Holds:
    """Per-user tables at several depths, and weights they were learned with."""

    other: Any = None

    def filled(self, users):
        self.table_ = PerUser.of(users, np.arange(len(users), dtype=float)[:, None] + 1)
        self.parts_ = [PerUser.of(users, csr_array(np.eye(len(users))))]
        self.weights_ = np.ones(2)
        return self


def test_forgetting_empties_every_per_user_table_wherever_it_stands_and_marks_the_rest_stale():
    users = IdTable.of(["a", "b", "c"])
    stage = Holds(Holds().filled(users)).filled(users)
    after = forget(stage, ["b", "stranger"])
    for table in (after.table_, after.parts_[0], after.other.table_, after.other.parts_[0]):
        assert "b" not in table.users and table.known.tolist() == [True, False, True]
    assert after.table_.values.ravel().tolist() == [1.0, 0.0, 3.0]
    assert after.parts_[0].values.toarray().tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert after.stale_ and after.other.stale_
    assert stage.table_.values.ravel().tolist() == [1.0, 2.0, 3.0] and "b" in stage.other.table_.users
    assert not hasattr(stage, "stale_")


def test_forgetting_keeps_a_shared_stage_shared_and_uses_a_stages_own_way():
    @dataclass
    class Own:
        names: tuple = ()

        def forget(self, users):
            return Own(tuple(name for name in self.names if name not in users))

    @dataclass
    class Two:
        left: Any
        right: Any

    shared = Own(("a", "b"))
    after = forget(Two(shared, shared), ["a"])
    assert after.left is after.right and after.left.names == ("b",) and shared.names == ("a", "b")


def test_forgetting_does_nothing_to_what_knows_no_users():
    assert forget(3, ["a"]) == 3 and forget("text", ["a"]) == "text"
    assert forget((1, 2), ["a"]) == (1, 2)


def test_words_that_are_no_choice_are_refused_with_those_that_are():
    @dataclass
    class Stage:
        how: Literal["beam", "draw"] = "beam"
        n: int = 3

    choices(Stage())
    with pytest.raises(OptionError, match="Stage: how is 'bean'") as caught:
        choices(Stage("bean"))
    assert caught.value.hint == "one of beam, draw"


def test_numbers_are_of_their_kind_and_a_word_or_nan_is_none():
    @dataclass
    class Counting:
        n: int = 1
        share: float = 0.5
        on: bool = False
        most: int | None = None

    numbers(Counting())
    numbers(Counting(np.int64(2), 1, True))
    for name, value in (("n", "1"), ("n", 1.0), ("n", True), ("share", float("nan")), ("share", "x"), ("on", "no")):
        with pytest.raises(OptionError, match=f"Counting: {name} is "):
            numbers(Counting(**{name: value}))
