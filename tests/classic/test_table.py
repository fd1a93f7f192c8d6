import subprocess
import sys

import pytest
from tests.classic.tiny import checkerboard

from hexarec.classic import CLASSIC
from hexarec.core import OptionError, option_names, stages_of
from hexarec.core.cards import DATA_NEEDS, MODEL_NEEDS


@pytest.mark.parametrize("card", CLASSIC, ids=lambda card: card.name)
def test_every_row_is_true(card):
    made = card.load()
    assert card.stages == stages_of(made) and made.__name__.lower() == card.name.replace("-", "")
    assert card.needs <= DATA_NEEDS | MODEL_NEEDS and card.title and card.paper
    assert isinstance(card.make_tiny(), made)
    assert all(not name.startswith("_") for name in option_names(made))
    words = made.fit.__doc__ and sys.modules[made.__module__].__doc__
    assert all(f"\n{part}:" in words for part in ("Source", "Idea", "Differs", "Cost", "Needs"))


def test_names_are_distinct():
    assert len({card.name for card in CLASSIC}) == len(CLASSIC)


BOARD = checkerboard(8, 8, 3)[0]


def stage(name, **options):
    """A classic by name."""
    return next(card for card in CLASSIC if card.name == name).load()(**options)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("itemknn", "neighbours", -3), ("itemknn", "last", 0), ("itemknn", "shrink", float("nan")),
        ("userknn", "neighbours", 0), ("markov", "reach", 0), ("ials", "factors", 0), ("ials", "sweeps", -1),
        ("bpr", "epochs", -1), ("bpr", "batch", 0), ("bpr", "rate", float("nan")), ("lightgcn", "factors", 0),
        ("lightgcn", "layers", -1), ("sasrec", "heads", 0), ("sasrec", "epochs", 0), ("lexical", "k1", -1.0),
        ("mmr", "neighbours", 0),
    ],
)  # fmt: skip
def test_an_impossible_option_is_refused_by_name(name, option, value):
    with pytest.raises(OptionError, match=f"{option} is {value}, not at least"):
        stage(name, **{option: value}).fit(BOARD)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lightgcn", {"rate": 1e30, "epochs": 2}),
        ("bpr", {"rate": 1e38, "epochs": 4}),
        ("ials", {"spread": 1e30, "regularization": 0.0}),
        ("sasrec", {"rate": 1e38, "epochs": 2, "width": 8, "hidden": 8}),
    ],
)
def test_learning_that_ends_in_no_numbers_is_an_error_not_an_empty_list(name, options):
    if name == "sasrec":
        pytest.importorskip("torch")
    with pytest.raises(OptionError, match="diverged"):
        stage(name, **options).fit(BOARD)


def test_words_need_a_field_that_is_there():
    with pytest.raises(OptionError, match=r"none of the fields \['plot'\]") as caught:
        stage("lexical", fields=["plot"]).fit(BOARD)
    assert "it has title, text, genres" in caught.value.hint


def test_importing_the_table_imports_neither_torch_nor_scipy():
    code = "import sys, hexarec.classic; print([n for n in ('torch', 'scipy') if n in sys.modules])"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "[]"
