from dataclasses import replace

import numpy as np
import pytest

from hexarec.core import Catalog, Dataset, IdTable, Interactions, Item, OptionError, Users, forget
from hexarec.parts.traits import Persona, Traits, mean_ratings


def made(rows, tags=("a", "a", "b", "c"), **attributes):
    """A data set of (user, item, rating) rows."""
    items = [Item(f"i{n}", f"Item {n}", attributes={"genres": (tag,), **{k: v[n] for k, v in attributes.items()}})
             for n, tag in enumerate(tags)]  # fmt: skip
    user, item, value = (np.array(column) for column in zip(*rows, strict=True))
    n = int(user.max()) + 1
    log = Interactions.of({"user": user, "item": item, "time": np.arange(len(user), dtype=float),
                           "value": value.astype(np.float32)}, n)  # fmt: skip
    return Dataset(Catalog.of(items), log, Users(IdTable.of(f"u{row}" for row in range(n))))


def fitted(data, **options):
    return Traits(**options).fit(data, mean_ratings(data))


def test_the_three_formulas_on_a_case_computed_by_hand():
    data = made([(0, 0, 5), (0, 2, 1), (1, 0, 3), (1, 1, 4), (1, 3, 2)])
    raw = fitted(data).raw_.values
    # means: i0 4, i1 4, i2 1, i3 2; u0 is off by 1 and 0, u1 by 1, 0 and 0
    assert raw[0].tolist() == [2.0, 0.5, 2.0]
    assert raw[1].tolist() == pytest.approx([3.0, 1 / 3, 2.0])


def test_levels_are_cut_at_the_published_percentiles():
    rows = [(user, item % 4, 3) for user in range(10) for item in range(user + 1)]
    levels = fitted(made(rows)).levels_.values[:, 0]
    # activity 1..10: the 60th percentile is 6.4, the 90th 9.1
    assert levels.tolist() == [1] * 6 + [2] * 3 + [3]


def test_breadth_counts_the_head_of_the_distribution():
    data = made([(0, 0, 3)] * 8 + [(0, 2, 3)] + [(0, 3, 3)] + [(1, 0, 3)])
    # items are counted once a user: a, b and c hold a third each; as released four fifths need all three
    assert fitted(data).raw_.values[0, 2] == 3.0
    wide = made([(0, n, 3) for n in range(6)] + [(1, 0, 3)], tags=("a", "a", "a", "a", "b", "c"))
    assert fitted(wide, breadth=0.8).raw_.values[0, 2] == 2.0 and fitted(wide).raw_.values[0, 2] == 3.0
    with pytest.raises(OptionError, match="breadth"):
        Traits(breadth=1.5)


def test_what_is_not_known_is_ordinary():
    data = made([(0, 0, np.nan), (1, 1, np.nan), (1, 2, np.nan)])
    traits = fitted(data)
    assert traits.of("u0").conformity == 2 and traits.of(None) == traits.of("stranger") == Persona()
    bare = replace(data, catalog=replace(data.catalog, attributes={}))
    assert fitted(bare).of("u1").diversity == 2
    assert forget(traits, ["u1"]).of("u1") == Persona() != traits.of("u1")


def test_a_public_mean_stands_before_the_one_of_the_log():
    data = made([(0, 0, 5), (1, 2, 1)], rating=[3.5, None, None, 2.0])
    assert mean_ratings(data, "rating").tolist()[0] == 3.5 and mean_ratings(data)[2] == 1.0
    assert np.isnan(mean_ratings(data)[1]) and mean_ratings(data, "other")[0] == 5.0
