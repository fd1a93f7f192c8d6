import numpy as np
import pytest

from hexarec.classic import IALS
from hexarec.data.worlds import world
from hexarec.lm.open import open_encoder
from hexarec.parts.audience import Placed, people_of
from hexarec.parts.encoded import item_texts, taught
from hexarec.parts.funnel import Funnel

DATA = world("cold").data
TEXTS = item_texts(DATA.catalog, ("title", "genres"))


@pytest.fixture(scope="module")
def funnel():
    cf = IALS(factors=8, sweeps=4).fit(DATA)
    return Funnel.of(taught(open_encoder("tfidf"), TEXTS), TEXTS, DATA, Placed.of(cf, DATA), people_of(cf, DATA), 0.1)


def test_a_profile_is_the_mean_text_of_what_was_liked(funnel):
    own = DATA.interactions.item[slice(*DATA.interactions.offsets[3:5])]
    mean = funnel.near([TEXTS[row] for row in own]).sum(0)
    np.testing.assert_allclose(funnel.profiles.values[3], mean / np.linalg.norm(mean), atol=1e-5)


def test_both_filters_keep_users_of_the_text(funnel):
    for row in range(48, 54):
        found = funnel.kept([TEXTS[row]], 10)
        assert (found.users[0] % 6 == row % 6).mean() > 0.8 and (np.diff(found.p[0]) <= 0).all()


def test_mapped_text_lies_nearer_to_the_vectors_of_its_kind(funnel):
    cf = IALS(factors=8, sweeps=4).fit(DATA)
    made, warm = funnel.mapped(TEXTS[48:60]), cf.items()[:48]
    scores = made @ warm.T
    same = np.arange(12)[:, None] % 6 == np.arange(48) % 6
    assert scores[same].mean() > 2 * scores[~same].mean()


def test_nothing_is_kept_for_items_without_words_and_as_many_as_there_are_else(funnel):
    found = funnel.kept(["", TEXTS[50]], 100)
    assert (found.users[0] == -1).all() and sorted(found.users[1].tolist()) == list(range(DATA.n_users))
    assert not funnel.mapped([""]).any()
