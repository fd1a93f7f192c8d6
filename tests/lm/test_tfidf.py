import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.core.errors import StateError
from hexarec.lm.base import Encoder
from hexarec.lm.tfidf import TfidfSvd, terms

TEXTS = [
    *(f"space alien war planet {n}" for n in range(20)),
    *(f"love romance wedding garden {n}" for n in range(20)),
    *(f"科幻电影 星际穿越 {n}" for n in range(20)),
]


def test_terms_are_words_and_chinese_bigrams():
    assert terms("The Alien-War 科幻电影 7 片") == ["the", "alien", "war", "科幻", "幻电", "电影", "7", "片"]


def test_like_texts_are_near():
    encoder = TfidfSvd(16).fit(TEXTS)
    assert isinstance(encoder, Encoder) and encoder.fallback and encoder.dim == 16 and encoder.name == "tfidf-svd"
    rows = encoder.encode(["alien planet", "space war", "romance garden", "科幻电影很好看", "", "zzz unknown"])
    near = rows @ rows.T
    assert (
        rows.shape == (6, 16) and rows.dtype == np.float32 and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    )
    assert near[0, 1] > 0.8 and near[0, 2] < 0.2 and near[0, 3] < 0.2
    assert near[4, 5] == pytest.approx(1) and abs(near[0, 4]) < 1e-6


def test_the_same_texts_give_the_same_axes():
    one, two = TfidfSvd(8).fit(TEXTS), TfidfSvd(8).fit(TEXTS)
    assert np.array_equal(one.axes_, two.axes_)


def test_before_fit_it_says_so():
    with pytest.raises(StateError, match="fit"):
        TfidfSvd().encode(["x"])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=6), st.lists(st.text(max_size=20), max_size=4))
def test_any_texts_have_unit_rows(learned, asked):
    rows = TfidfSvd(8).fit(learned).encode(asked)
    assert rows.shape == (len(asked), 8) and np.isfinite(rows).all()
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-4)


def test_batches_equal_singles():
    encoder = TfidfSvd(16).fit(TEXTS)
    assert np.allclose(encoder.encode(TEXTS[:3]), np.vstack([encoder.encode([t]) for t in TEXTS[:3]]), atol=1e-6)
