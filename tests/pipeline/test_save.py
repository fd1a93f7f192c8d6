import numpy as np
import pytest

from hexarec.classic import EASE, ItemKNN, Popular
from hexarec.classic.because import Because
from hexarec.classic.lexical import Lexical
from hexarec.core import IdTable, Item, ModelError, Queries, StateError, save, state_digest
from hexarec.core import forget as core_forget
from hexarec.lm.open import open_encoder, open_lm
from hexarec.methods.frozen_encoder import FrozenEncoder
from hexarec.methods.llmrank import LLMRank
from hexarec.pipeline.combine import Blend, Fuse, Window
from hexarec.pipeline.pipeline import Pipeline
from hexarec.pipeline.save import load, manifest
from hexarec.pipeline.save import save as save_pipeline

from .makers import DATA, QUERIES, rows_of


def whole():
    ease = EASE(20.0)
    return Pipeline(
        (ease, FrozenEncoder(open_encoder("tfidf"), dim=16)),
        Window(LLMRank(open_lm("fake:overlap"), backend="list", rounds=2), 5), (), Because(), weights=(2.0, 1.0), depth=20,
    )  # fmt: skip


def test_saved_and_loaded_it_answers_the_same(tmp_path):
    made = whole().fit(DATA, seed=2)
    again = load(save_pipeline(made, tmp_path / "p"), DATA)
    ours, theirs = made.recommend(QUERIES, 5), again.recommend(QUERIES, 5)
    assert rows_of(ours.items) == rows_of(theirs.items) and ours.reasons == theirs.reasons
    assert theirs.degraded == () and again.weights == (2.0, 1.0) and again.depth == 20


def test_the_manifest_names_the_catalog_the_data_and_the_seed(tmp_path):
    about = manifest(save_pipeline(whole().fit(DATA, seed=2), tmp_path / "p"))
    assert (about["catalog"], about["items"], about["seed"]) == (DATA.catalog.key, DATA.n_items, 2)
    assert about["data_key"] == DATA.key and about["name"] == "pipeline"


def test_the_data_set_is_not_saved(tmp_path):
    path = save_pipeline(whole().fit(DATA), tmp_path / "p")
    with pytest.raises(StateError, match="no data set yet\n  -> use hexarec.load"):
        load(path).lookup(["i000"])
    assert "Ocean story" not in (path / "nodes.json").read_text("utf-8")


def test_an_unfitted_pipeline_is_not_saved(tmp_path):
    with pytest.raises(StateError, match="not fitted"):
        save_pipeline(whole(), tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def test_another_directory_than_a_pipelines_is_refused(tmp_path):
    with pytest.raises(StateError, match="holds a EASE, not a pipeline"):
        load(save(EASE().fit(DATA), tmp_path / "e"), DATA)


def turned():
    """The same data in another lineage: items in the opposite order, one unknown to ours."""
    ids = [*DATA.catalog.items.ids.tolist()[::-1], "another"]
    return DATA.onto(IdTable.of(ids, "turned"))


def test_loaded_into_another_lineage_it_answers_with_the_same_items_by_id(tmp_path):
    made = Pipeline((EASE(20.0), ItemKNN()), depth=20).fit(DATA)
    other = turned()
    again = load(save_pipeline(made, tmp_path / "p"), other)
    queries = again.data.queries(QUERIES.user.tolist(), now=QUERIES.now)
    ours, theirs = made.recommend(QUERIES, 5), again.recommend(queries, 5)
    assert [again.catalog.ids(row) for row in rows_of(theirs.items)] == [
        DATA.catalog.ids(row) for row in rows_of(ours.items)
    ]
    assert again.catalog.key == DATA.catalog.key != other.catalog.key


def test_items_that_came_later_are_served_after_load(tmp_path):
    made = Pipeline((Lexical(), Popular())).fit(DATA)
    path = save_pipeline(made, tmp_path / "p")
    grown = turned().with_items([Item("fresh", "Ocean story 99", "A ocean tale about the ocean and its people.")])
    again = load(path, grown)
    found = again.recommend(again.data.queries([0]), 200).items.items
    assert "fresh" in again.catalog.ids(found) and "another" not in again.catalog.ids(found)


def test_an_encoder_that_learned_can_encode_after_load(tmp_path):
    made = Pipeline((FrozenEncoder(open_encoder("tfidf"), dim=16),)).fit(DATA)
    again = load(save_pipeline(made, tmp_path / "p"), DATA)
    asked = Queries.one(DATA.catalog, text="a tale of the ocean")
    assert rows_of(again.retrieve(asked, 5)) == rows_of(made.retrieve(asked, 5))


def test_shared_stages_are_saved_once_and_learned_weights_come_back(tmp_path):
    knn = ItemKNN()
    made = Pipeline((Fuse((knn, Popular())),), Blend(knn, knn, share=0.3)).fit(DATA)
    again = load(save_pipeline(made, tmp_path / "p"), DATA)
    assert again.retrieve_[0].retrievers_[0] is again.rank_.ranker_
    assert again.rank_.weight_ == made.rank_.weight_ and again.rank_.curve_ == made.rank_.curve_


def test_a_forgotten_user_is_in_no_file(tmp_path):
    made = Pipeline((EASE(20.0), ItemKNN())).fit(DATA)
    user = DATA.users.ids.ids[3]
    path = save_pipeline(made, tmp_path / "before")
    assert user in (path / "nodes.json").read_text()
    path = save_pipeline(core_forget(made, [user]), tmp_path / "after")
    assert user not in (path / "nodes.json").read_text() and "u004" in (path / "nodes.json").read_text()


def test_scores_are_equal_to_the_last_bit_after_load(tmp_path):
    made = Pipeline((EASE(20.0),)).fit(DATA)
    again = load(save_pipeline(made, tmp_path / "p"), DATA)
    assert np.array_equal(made.retrieve(QUERIES, 9).scores, again.retrieve(QUERIES, 9).scores)


def test_what_is_saved_holds_no_password_and_loading_asks_for_it(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    address = "http://user:pass5word@127.0.0.1:9/v1?api_key=SEC5RET"
    lm, encoder = open_lm(f"openai:{address}#m"), open_encoder(f"openai:{address}#e", dim=4)
    rank = Window(LLMRank(lm, backend="list", rounds=1), 5)
    made = Pipeline((Popular(),), rank, (), Because(open_lm(f"openai:{address}#m", retries=0))).fit(DATA)
    folder = save_pipeline(made, tmp_path / "p")
    save(FrozenEncoder(encoder), tmp_path / "e")
    for file in sorted(tmp_path.rglob("*")):
        held = file.read_bytes() if file.is_file() else b""
        assert b"pass5word" not in held and b"SEC5RET" not in held and b"user:" not in held, file
    with pytest.raises(ModelError, match="of http://127.0.0.1:9/v1 is not kept in what is saved") as caught:
        load(folder, DATA)
    assert "OPENAI_BASE_URL" in caught.value.hint
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    again = load(folder, DATA)
    assert again.rank_by.ranker.lm.wire._client.base_url.userinfo == b"user:pass5word"
    assert state_digest(again) == state_digest(made)
