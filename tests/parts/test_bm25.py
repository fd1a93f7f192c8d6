import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core import load, save
from hexarec.parts.bm25 import BM25, tokenise


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("三体 Alien", ["三体", "alien"]),
        ("The Lord of the Rings", ["lord", "rings"]),
        ("霸王别姬", ["霸王", "王别", "别姬"]),
        ("异", ["异"]),
        ("Schindler's List", ["schindler", "list"]),
        ("WALL·E", ["wall", "e"]),
        ("ＡＬＩＥＮ 3", ["alien", "3"]),
        ("", []),
        ("the of", []),
        ("snake_case", ["snake", "case"]),
        ("東京Tokyo", ["東京", "tokyo"]),
    ],
)
def test_words_and_pairs_of_characters(text, tokens):
    assert tokenise(text) == tokens


DOCUMENTS = ["ocean robot", "robot robot jazz", "desert castle kitchen garden", "robot", ""]


def by_hand(query, documents, k1=1.5, b=0.75):
    """BM25 with Lucene's idf, as the formula says."""
    tokens = [tokenise(one) or [""] for one in documents]
    mean = sum(map(len, tokens)) / len(tokens)
    out = []
    for own in tokens:
        total = 0.0
        for word in tokenise(query):
            spread = sum(word in other for other in tokens)
            tf = own.count(word)
            idf = math.log(1 + (len(tokens) - spread + 0.5) / (spread + 0.5))
            total += idf * tf / (tf + k1 * (1 - b + b * len(own) / mean))
        out.append(total)
    return out


@pytest.mark.parametrize("query", ["robot", "robot jazz", "ocean ocean", "castle garden robot"])
def test_scores_are_those_of_the_formula(query):
    np.testing.assert_allclose(
        BM25().build(DOCUMENTS).scores([query])[0], by_hand(query, DOCUMENTS), rtol=1e-5, atol=1e-6
    )


@given(st.lists(st.text(max_size=10), max_size=4), st.lists(st.text(max_size=10), max_size=3))
def test_any_text_is_indexed_and_asked(documents, queries):
    made = BM25().build(documents).scores(queries)
    assert made.shape == (len(queries), len(documents)) and np.isfinite(made).all() and (made >= 0).all()


def test_unknown_words_score_nothing():
    assert not BM25().build(DOCUMENTS).scores(["zebra", "", "the"]).any()
    assert not BM25().build(["", "the"]).scores(["robot"]).any()


def test_extending_is_building_anew_and_leaves_the_old_index():
    old = BM25(1.2, 0.5).build(DOCUMENTS[:3])
    before = old.scores(["robot"])
    grown = old.extend(DOCUMENTS[3:])
    assert np.array_equal(grown.scores(["robot jazz"]), BM25(1.2, 0.5).build(DOCUMENTS).scores(["robot jazz"]))
    assert np.array_equal(old.scores(["robot"]), before)


def test_the_index_comes_back_from_its_words(tmp_path):
    made = BM25().build(DOCUMENTS)
    made.scores(["robot"])
    again = load(save(made, tmp_path / "bm25"), None)
    assert np.array_equal(again.scores(["robot jazz"]), made.scores(["robot jazz"]))


def test_building_again_forgets_the_old_documents():
    made = BM25().build(DOCUMENTS)
    made.scores(["robot"])
    assert made.build(["jazz"]).scores(["robot"]).tolist() == [[0.0]]


def test_other_weights_of_the_same_documents():
    base = BM25().build(DOCUMENTS)
    made = base.weighed(0.5, 0.2)
    np.testing.assert_allclose(
        made.scores(["robot jazz"])[0], by_hand("robot jazz", DOCUMENTS, 0.5, 0.2), rtol=1e-5, atol=1e-6
    )
    assert (base.k1, base.b) == (1.5, 0.75)
