import subprocess
import sys

import pytest

from hexarec.classic import CLASSIC
from hexarec.core import option_names, stages_of
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


def test_importing_the_table_imports_neither_torch_nor_scipy():
    code = "import sys, hexarec.classic; print([n for n in ('torch', 'scipy') if n in sys.modules])"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "[]"
