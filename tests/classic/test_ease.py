import numpy as np
import pytest

from hexarec.classic import EASE
from hexarec.classic._shared import remember
from hexarec.core import OptionError

from .tiny import checkerboard, found, keeps_promises, silent, stranger, survives


def test_promises(tmp_path):
    keeps_promises(EASE, tmp_path)
    survives(EASE)


def test_finds_the_held_out_item():
    data, held = checkerboard()
    assert found(EASE(regularization=10.0).fit(data), data, held, 4) == 1.0


@pytest.mark.parametrize("ridge", [1.0, 50.0])
def test_equals_the_closed_form_in_float64(ridge):
    data = checkerboard(n_users=200, n_items=60, seen=12)[0]
    x = remember(data).values.toarray().astype(np.float64)
    p = np.linalg.inv(x.T @ x + ridge * np.eye(60))
    want = -p / np.diag(p)
    np.fill_diagonal(want, 0.0)
    np.testing.assert_allclose(EASE(ridge).fit(data).weights_, want, atol=1e-4)


def test_history_outranks_memory():
    data = checkerboard()[0]
    stage = EASE(10.0).fit(data)
    even = data.queries([0])
    odd = even.with_history(data.queries([1]).history)
    assert (stage.retrieve(odd, 3).items % 2 == 1).all()
    assert (stage.retrieve(silent(even), 3).items % 2 == 0).all()
    assert stage.retrieve(stranger(data), 1).items[0] == int(stage.popular_.argmax())


def test_bad_option():
    with pytest.raises(OptionError):
        EASE(0.0).fit(checkerboard()[0])
