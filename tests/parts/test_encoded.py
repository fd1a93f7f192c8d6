import numpy as np
import pytest

from hexarec.core import Cancel, CancelledError, run
from hexarec.parts.encoded import CHUNK, encoded, forget_encoded


class Lengths:
    """The length of a text as its vector; counts what it is asked."""

    dim = 1

    def __init__(self, spec="test:lengths"):
        self.name = self.spec = spec
        self.asked = []

    def encode(self, texts):
        self.asked += texts
        return np.array([[float(len(text))] for text in texts], np.float32)


class Learning(Lengths):
    def fit(self, texts):
        return self


@pytest.fixture(autouse=True)
def nothing_known():
    forget_encoded()


def test_each_text_is_encoded_once_and_rows_keep_the_order():
    encoder = Lengths()
    assert encoded(encoder, ["bb", "a", "bb", "ccc"]).ravel().tolist() == [2, 1, 2, 3]
    assert encoded(Lengths(), ["ccc", "dddd"]).ravel().tolist() == [3, 4] and encoder.asked == ["bb", "a", "ccc"]
    again = Lengths()
    assert encoded(again, ["a"]).tolist() == [[1.0]] and again.asked == []


def test_another_encoder_or_tenant_shares_nothing():
    encoded(Lengths("one"), ["a"])
    other, tenant = Lengths("other"), Lengths("one")
    encoded(other, ["a"])
    with run(tenant="somebody else"):
        encoded(tenant, ["a"])
    assert other.asked == tenant.asked == ["a"]


def test_an_encoder_that_learns_is_asked_every_time():
    encoder = Learning()
    encoded(encoder, ["a", "a"])
    encoded(encoder, ["a"])
    assert encoder.asked == ["a", "a", "a"]


def test_no_texts_give_no_rows():
    assert encoded(Lengths(), []).shape == (0, 1) and encoded(Learning(), []).shape == (0, 1)


def test_a_long_work_is_cut_into_chunks_and_can_be_cancelled_between_them():
    cancel, encoder = Cancel(), Lengths()
    texts = [str(n) for n in range(3 * CHUNK)]
    with run(cancel=cancel, emit=lambda event: cancel.set() if event["done"] == 1 else None):
        with pytest.raises(CancelledError):
            encoded(encoder, texts)
    assert len(encoder.asked) == CHUNK
