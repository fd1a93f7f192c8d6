from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from hexarec.classic import Lexical  # noqa: E402
from hexarec.core import (  # noqa: E402
    CapabilityError,
    Catalog,
    Dataset,
    IdTable,
    Interactions,
    Item,
    OptionError,
    Users,
    load,
    run,
    save,
    variant,
)
from hexarec.data.worlds import world  # noqa: E402
from hexarec.eval.estimate import estimate  # noqa: E402
from hexarec.lm.base import Completion  # noqa: E402
from hexarec.lm.cassette import Cassette  # noqa: E402
from hexarec.lm.fake import Scripted  # noqa: E402
from hexarec.lm.guard import Guarded  # noqa: E402
from hexarec.lm.open import open_encoder, open_lm  # noqa: E402
from hexarec.methods.gpt4rec import PROMPTS, GPT4Rec  # noqa: E402
from hexarec.parts.next_title import Recipe  # noqa: E402
from hexarec.testing._words import Counter  # noqa: E402

PLACE = world("cold")
DATA = PLACE.data
TINY = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
QUICK = {"queries": 3, "history": 2, "length": 8, "examples": 16, "epochs": 2, "valid": 4, "rate": 1e-2, "dropout": 0.0}


def saying(*texts, **options):
    """The method over a model whose n-th draw says the n-th text, not tuned."""
    lm = Scripted(lambda prompt: texts[prompt.seed % len(texts)])
    lm.asked = []
    answer = lm.function
    lm.function = lambda prompt: lm.asked.append(prompt) or answer(prompt)
    return GPT4Rec(lm, **{"queries": len(texts), "epochs": 0, "valid": 0, **options})


def topics(lists, i=0):
    return [DATA.catalog.titles[item].split()[0] for item in lists[i].items]


def test_the_prompt_lists_liked_titles_and_asks_for_a_query():
    stage = saying("Ocean", domain="product", history=2)
    stage.fit(DATA).retrieve(DATA.queries([0]), 2)
    shown = DATA.catalog.titles[DATA.queries([0]).history.item[-2:]]
    assert [prompt.text for prompt in stage.lm.asked] == [
        f"Previously, a customer has purchased these products, oldest first:\n1. {shown[0]}\n2. {shown[1]}\n\n"
        "In the future, the customer wants to purchase something else. Write the search query that finds it. "
        "Answer with the query and nothing else."
    ]


def test_chinese_readers_are_asked_and_answered_in_chinese():
    stage = saying("海洋", history=1, backfill=False).fit(DATA)
    queries = replace(DATA.queries([0]), lang=np.array(["zh"], object))
    lists = stage.retrieve(queries, 3)
    assert stage.lm.asked[0].text.startswith("一位顾客选择过以下物品（由旧到新）：\n1. 海洋故事")
    assert topics(lists) == ["Ocean"] * 3
    said = stage.explain(queries, lists, Counter(DATA.catalog))[0].items
    assert {one.text for one in said} == {"根据您的历史搜索“海洋”找到。"} and said[0].lang == "zh"
    assert PROMPTS.text("zh", "none") == "（无）"


def test_each_query_has_its_share_of_the_list_in_the_order_of_its_odds():
    lists = saying("Jazz", "Castle", "Robot").fit(DATA).retrieve(DATA.queries([0]), 6)
    assert topics(lists) == ["Jazz", "Jazz", "Castle", "Castle", "Robot", "Robot"]
    assert (np.diff(lists.scores) < 0).all()


def test_as_many_queries_as_places_give_one_item_each():
    lists = saying("Jazz", "Castle", "Robot").fit(DATA).retrieve(DATA.queries([0]), 3)
    assert topics(lists) == ["Jazz", "Castle", "Robot"]


def test_every_item_is_traceable_to_a_query_or_said_to_be_popular():
    stage = saying("Jazz", "Castle", "Robot").fit(DATA)
    queries = DATA.queries([0, 1])
    lists = stage.retrieve(queries, 40)
    for i in range(2):
        for item, w in zip(lists[i].items, lists[i].fields["why"], strict=True):
            why = lists.evidence[w]
            word = DATA.catalog.titles[item].split()[0]
            assert (why.kind, why.detail) in (("query", word), ("popularity", ""))
            assert (why.kind == "query") == (word in ("Jazz", "Castle", "Robot"))
    assert [text for text, _ in lists.notes[0]["queries"]] == ["Jazz", "Castle", "Robot"]
    words = stage.explain(queries, lists, Counter(DATA.catalog))[0]
    assert words.items[0].text == "Found by the search “Jazz”, which your history suggests."
    assert words.items[-1].text == "Popular with others." and words.evidence[0][0].detail == "Jazz"
    bare = lists.dropping("why")
    assert stage.explain(queries, bare, Counter(DATA.catalog))[0].items[0].text == "Chosen for your history as a whole."


def test_without_backfill_only_what_queries_found_is_shown():
    stage = saying("Jazz", "nothing like it", backfill=False).fit(DATA)
    lists = stage.retrieve(DATA.queries([0]), 40)
    assert set(topics(lists)) == {"Jazz"} and len(lists.items) == 10
    parse = lists.notes[0]["parse"]
    assert (parse["requested"], parse["matched"], parse["out_of_set"]) == (2, 2, 1)


def test_titles_of_the_history_do_not_come_back():
    queries = DATA.queries([0])
    seen = queries.history.item[-1]
    lists = saying(DATA.catalog.titles[seen]).fit(DATA).retrieve(queries, 4)
    assert seen not in lists.items and set(topics(lists)) == {DATA.catalog.titles[seen].split()[0]}


def test_queries_that_read_alike_count_once_and_are_counted():
    lists = saying("Jazz", "jazz", '"Jazz"', "Robot", " ").fit(DATA).retrieve(DATA.queries([0]), 5)
    assert [text for text, _ in lists.notes[0]["queries"]] == ["Jazz", "Robot"]
    parse = lists.notes[0]["parse"]
    assert (parse["requested"], parse["matched"], parse["duplicates"], parse["missing"]) == (5, 2, 2, 1)
    assert topics(lists) == ["Jazz", "Robot", "Jazz", "Robot", "Jazz"]


def test_users_without_likes_get_what_is_popular_and_nobody_is_asked():
    stage = saying("Jazz").fit(DATA)
    queries = DATA.queries([0])
    none = queries.with_history(queries.history.where(np.zeros(len(queries.history.item), bool)))
    lists = stage.retrieve(none, 5)
    assert len(lists.items) == 5 and not stage.lm.asked
    assert {lists.evidence[w].kind for w in lists.fields["why"]} == {"popularity"}
    assert lists.notes[0]["parse"]["requested"] == 0
    assert len(saying("Jazz", backfill=False).fit(DATA).retrieve(none, 5).items) == 0
    unknown = replace(queries, user=np.array([-1], np.int32))
    assert topics(stage.retrieve(unknown, 3)) == ["Jazz"] * 3


def test_new_items_are_found_without_tuning_again():
    stage = saying("purple piano").fit(DATA)
    data = DATA.with_items([Item("new", "A purple piano")])
    assert len(stage.extend(data.catalog).retrieve(data.queries([0]), 1).items) == 1
    assert data.catalog.ids(stage.extend(data.catalog).retrieve(data.queries([0]), 1).items) == ["new"]


def shop(titles, past):
    """A data set of one user."""
    catalog = Catalog.of([Item(f"i{n}", title) for n, title in enumerate(titles)])
    log = Interactions.of({"user": [0] * len(past), "item": past, "time": np.arange(len(past), dtype=float)}, 1)
    return Dataset(catalog, log, Users(IdTable.of(["u"])), name="shop")


def test_a_catalog_of_one_item_is_served():
    data = shop(["red lamp"], [0])
    assert len(saying("red lamp").fit(data).retrieve(data.queries(), 3).items) == 0
    nobody = data.queries().excluding(np.zeros(0, np.int32), np.zeros(2, np.int64))
    assert saying("red lamp").fit(data).retrieve(nobody, 3).items.tolist() == [0]


def test_items_without_words_come_by_popularity_only_and_a_silent_catalog_is_refused():
    data = shop(["red lamp", "", "blue lamp", ""], [0])
    lists = saying("lamp").fit(data).retrieve(data.queries(), 4)
    assert lists.items.tolist() == [2, 1, 3]
    assert [lists.evidence[w].kind for w in lists.fields["why"]] == ["query", "popularity", "popularity"]
    with pytest.raises(OptionError, match="no item has words"):
        saying("lamp").fit(shop(["", ""], [0]))


LAMPS = ["lamp", "lamp lamp and many words more about a desk", *["lamp for a desk"] * 30]


def test_k1_and_b_are_the_best_of_held_questions_and_queries_are_written_once():
    user = np.repeat(np.arange(8), 3)
    catalog = Catalog.of([Item(f"i{n}", title) for n, title in enumerate(LAMPS)])
    events = {"user": user, "item": np.tile([5, 6, 1], 8), "time": np.tile([1.0, 2.0, 3.0], 8)}
    data = Dataset(catalog, Interactions.of(events, 8), Users(IdTable.of(f"u{n}" for n in range(8))), name="lamps")
    stage = saying("lamp", valid=8, share=0.3, backfill=False).fit(data)
    usual = saying("lamp", backfill=False).fit(data)
    held = data.queries(now=3.0)
    assert len(stage.lm.asked) == 8 == stage.chosen_["questions"]
    assert stage.chosen_["recall"] == 1.0 and (stage.search_.k1, stage.search_.b) != (1.5, 0.75)
    assert 1 in stage.retrieve(held, 20)[0].items and 1 not in usual.retrieve(held, 20)[0].items
    assert usual.chosen_["recall"] is None and (usual.search_.k1, usual.search_.b) == (1.5, 0.75)
    fixed = saying("lamp", valid=8, share=0.3, k1=2.0, b=0.5).fit(data)
    assert (fixed.search_.k1, fixed.search_.b) == (2.0, 0.5) and not fixed.lm.asked
    half = saying("lamp", valid=8, share=0.3, k1=2.0).fit(data)
    assert half.search_.k1 == 2.0 and half.chosen_["recall"] == 1.0


def test_k1_and_b_are_chosen_on_lists_that_the_queries_share():
    """Each of two queries has ten places of twenty in a list; what stands eleventh of one is not found.

    The first query finds the held item at place 11 with usual weights, and higher where long texts count as much as
    short ones; all twenty places for it would find the item with any weights.
    """
    titles = [*[f"lamp number{n}" for n in range(10)], "lamp lamp with many other words about a desk and what is on it"]
    titles += [f"chair number{n}" for n in range(20)]
    user = np.repeat(np.arange(8), 3)
    catalog = Catalog.of([Item(f"i{n}", title) for n, title in enumerate(titles)])
    events = {"user": user, "item": np.tile([30, 29, 10], 8), "time": np.tile([1.0, 2.0, 3.0], 8)}
    data = Dataset(catalog, Interactions.of(events, 8), Users(IdTable.of(f"u{n}" for n in range(8))), name="lamps")
    chosen = saying("lamp", "chair", valid=8, share=0.3).fit(data).chosen_
    assert chosen["recall"] == 1.0 and (chosen["k1"], chosen["b"]) != (1.5, 0.75)
    assert 10 not in saying("lamp", "chair", backfill=False).fit(data).retrieve(data.queries(now=3.0), 20)[0].items


def test_a_tie_leaves_the_usual_weights():
    assert saying("Jazz", valid=8).fit(DATA).chosen_["k1"] == 1.5


def test_vectors_search_in_place_of_words():
    stage = saying("a story about jazz", encoder=open_encoder("tfidf"), backfill=False).fit(DATA)
    assert topics(stage.retrieve(DATA.queries([0]), 5)) == ["Jazz"] * 5
    assert stage.chosen_["recall"] is None


def test_a_model_that_says_nothing_degrades_to_what_is_popular():
    told = []
    stage = GPT4Rec(Scripted(lambda prompt: Completion("", "error", error="broken")), epochs=0, valid=0, queries=2)
    with run(complain=told.append):
        lists = stage.fit(DATA).retrieve(DATA.queries([0, 1]), 5)
    assert told == ["2 of 2 questions have no query: broken"] and lists.lengths.tolist() == [5, 5]
    assert lists.notes[0]["parse"]["refused"] == 1


def test_fewer_draws_are_the_first_of_more_so_lists_compare():
    texts = ("Jazz", "Castle", "Robot", "Desert")
    few = variant(saying(*texts), queries=2).fit(DATA).retrieve(DATA.queries([0]), 2)
    many = saying(*texts).fit(DATA).retrieve(DATA.queries([0]), 4)
    assert topics(few) == topics(many)[:2]


@pytest.fixture(scope="module")
def learned():
    return GPT4Rec(TINY, **QUICK).fit(DATA)


def test_what_is_learned_is_whole_validated_and_comes_back(learned, tmp_path):
    about, tensors = learned.adapter_["about"], learned.adapter_["tensors"]
    assert all(np.abs(tensors[name]).max() > 0 for name in tensors if name.endswith(".B"))
    assert about["examples"] == 16 and about["prompts"] == PROMPTS.hash and about["valid"]["metric"] == "-loss"
    queries = DATA.queries([0, 1, 2])
    before = learned.written(queries)
    assert before != variant(learned, start="", epochs=0).fit(DATA).written(queries)
    save(learned, tmp_path / "kept")
    again = load(tmp_path / "kept", lambda kind, spec, options: TINY)
    assert again.written(queries) == before and again.chosen_ == learned.chosen_
    lists, same = (one.retrieve(queries, 6) for one in (learned, again))
    assert np.array_equal(lists.items, same.items) and lists.evidence == same.evidence


def test_beams_are_distinct_in_order_and_no_more_than_asked_for(learned):
    for said in learned.written(DATA.queries([0, 1])):
        odds = [one.logprob for one in said.answers]
        assert odds == sorted(odds, reverse=True) and len({one.text for one in said.answers}) == len(odds) <= 3
    drawn = variant(learned, how="draws").written(DATA.queries([0]))[0]
    assert len(drawn.raw) == 3


def test_tuning_that_was_killed_goes_on_and_ends_in_the_same_bits(learned, tmp_path):
    class Killed(Exception):
        pass

    def kill(event):
        if event["kind"] == "progress" and event["label"] == "tune" and event["done"] == 2:
            raise Killed

    small = GPT4Rec(TINY, **{**QUICK, "batch": 8})
    whole = small.fit(DATA).adapter_["tensors"]
    with pytest.raises(Killed), run(scratch=tmp_path, emit=kill):
        variant(small).fit(DATA)
    seen = []
    with run(scratch=tmp_path, emit=seen.append):
        again = variant(small).fit(DATA).adapter_["tensors"]
    assert all(np.array_equal(whole[name], again[name]) for name in whole)
    steps = [event["done"] for event in seen if event["label"] == "tune"]
    assert len(steps) < 4 + 1, "what the checkpoint holds is not done again"


def test_an_adapter_of_another_fit_serves_or_goes_on(learned):
    folder = Recipe.of(learned).adapter(learned.adapter_)
    served = variant(learned, epochs=0, start=folder, valid=0).fit(DATA)
    assert served.adapter_ is None
    assert served.written(DATA.queries([0])) == learned.written(DATA.queries([0]))
    on = variant(learned, start=folder, epochs=1).fit(DATA)
    assert on.adapter_["about"]["losses"][0] < learned.adapter_["about"]["losses"][0]


def test_wrapped_models_answer_alike(learned, tmp_path):
    queries = DATA.queries([0, 1])
    wanted = learned.written(queries)
    for _ in range(2):
        lm = Cassette(Guarded(TINY), tmp_path / "tape.jsonl")
        assert [own.answers for own in variant(learned, lm=lm).written(queries)] == [own.answers for own in wanted]
    assert (lm.hits, lm.misses) == (2, 0)


def test_what_a_model_lacks_is_said_when_it_is_built():
    with pytest.raises(CapabilityError, match="weights") as caught:
        GPT4Rec(Scripted(lambda prompt: ""))
    assert "epochs=0" in caught.value.hint and "hf:" in caught.value.hint
    with pytest.raises(CapabilityError, match="no beams"):
        saying("Jazz", how="beams")


@pytest.mark.parametrize(
    "wrong",
    [{"queries": 0}, {"history": 0}, {"length": 0}, {"valid": -1}, {"k1": -1.0}, {"b": 1.5}, {"how": "beam"},
     {"domain": "films"}, {"epochs": -1}, {"temperature": -1.0}, {"examples": 0}, {"loss_on": "most"}],
)  # fmt: skip
def test_impossible_options_are_refused(wrong):
    with pytest.raises(OptionError):
        saying("Jazz", **{"queries": 1, **wrong})


def test_an_impossible_share_is_refused():
    with pytest.raises(OptionError, match="share"):
        saying("Jazz", valid=4, share=1.0).fit(DATA)


def test_an_estimate_counts_tuning_and_beams_and_asks_nobody():
    small = {**QUICK, "valid": 0}
    few, more = (estimate(GPT4Rec(TINY, **{**small, "queries": n}), DATA, 10) for n in (2, 8))
    assert few.fit_calls == more.fit_calls == 16 * 2 and few.calls == more.calls == 32 + 10
    assert more.tokens_out == 4 * few.tokens_out == 10 * 8 * 8
    drawn = estimate(saying("a", "b", "c"), DATA, 10)
    assert (drawn.fit_calls, drawn.calls) == (0, 30)


def test_the_floor_of_this_method_is_a_search_for_the_last_title():
    """The strongest baseline without training: items that read like the last one."""
    last = Lexical(last=1).fit(DATA).retrieve(DATA.queries([0]), 3)
    copy = saying(DATA.catalog.titles[DATA.queries([0]).history.item[-1]]).fit(DATA).retrieve(DATA.queries([0]), 3)
    assert set(topics(last)) == set(topics(copy))
