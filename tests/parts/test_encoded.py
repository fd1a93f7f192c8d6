import numpy as np
import pytest

from hexarec.core import Cancel, CancelledError, ModelError, run
from hexarec.parts.encoded import CHUNK, asked, encoded, forget_encoded


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


@pytest.mark.parametrize("kind", [Lengths, Learning])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_no_numbers_are_refused_and_not_kept(kind, bad, monkeypatch):
    """One row of NaN makes the mean and the axes of all items NaN: a trace of the linear algebra, or a silent zero."""
    encoder = kind("test:sometimes")
    good = kind.encode
    monkeypatch.setattr(kind, "encode", lambda self, texts: np.where(good(self, texts) > 2, bad, 1.0))
    with pytest.raises(ModelError, match="test:sometimes gave no numbers for 1 of 3 texts, the first is 'ccc'"):
        encoded(encoder, ["a", "ccc", "bb"])
    monkeypatch.setattr(kind, "encode", good)
    assert encoded(encoder, ["ccc"]).tolist() == [[3.0]]


def test_words_without_numbers_are_zeros_and_told_of():
    class Failing(Lengths):
        def encode(self, texts):
            return np.where(super().encode(texts) > 2, np.nan, 1.0)

    told = []
    with run(complain=told.append):
        assert asked(Failing(), ["a", "ccc"]).tolist() == [[1.0], [0.0]]
    assert told == ["test:lengths gave no numbers for 1 of 2 texts"]


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


def test_servers_whose_addresses_differ_in_what_their_names_withhold_share_no_rows(monkeypatch):
    from hexarec.lm.endpoint import EndpointEncoder

    monkeypatch.setattr(EndpointEncoder, "encode", lambda self, texts: np.full((len(texts), 1), self.value, np.float32))
    for value, deployment in ((1.0, "a"), (2.0, "b"), (1.0, "a")):
        one = EndpointEncoder(f"http://host/v1?deployment={deployment}#m", dim=1)
        one.value = value
        assert encoded(one, ["x"]).tolist() == [[value]] and one.mark not in repr((one.spec, one.name))
    one.value = 9.0
    assert encoded(one, ["x"]).tolist() == [[1.0]], "the same address knows its rows again"
