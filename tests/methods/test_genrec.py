from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from hexarec.core import (  # noqa: E402
    CapabilityError,
    Catalog,
    DataError,
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
from hexarec.eval.tasks import validity_of  # noqa: E402
from hexarec.lm.base import Completion  # noqa: E402
from hexarec.lm.cassette import Cassette  # noqa: E402
from hexarec.lm.fake import Overlap, Scripted  # noqa: E402
from hexarec.lm.guard import Guarded  # noqa: E402
from hexarec.lm.open import open_lm  # noqa: E402
from hexarec.methods.genrec import PROMPTS, GenRec  # noqa: E402
from hexarec.parts.next_title import Recipe, cases  # noqa: E402
from hexarec.testing import CONTRACTS  # noqa: E402

PLACE = world("order")
DATA = PLACE.data
TOPICS = world("cold").data
TINY = open_lm("hf:tiny", dtype="float32", prefix_mb=0.0)
QUICK = {"beams": 5, "history": 2, "length": 8, "examples": 16, "epochs": 2, "valid": 4, "rate": 1e-2, "dropout": 0.0}


def saying(*texts, **options):
    """The method over a model without a trie whose n-th draw says the n-th text, not tuned."""
    lm = Scripted(lambda prompt: texts[prompt.seed % len(texts)])
    lm.asked = []
    answer = lm.function
    lm.function = lambda prompt: lm.asked.append(prompt) or answer(prompt)
    return GenRec(lm, **{"beams": len(texts), "epochs": 0, "decode": "free", "backfill": False, **options})


def found(lists, i=0):
    return [str(title) for title in TOPICS.catalog.titles[lists[i].items]]


@pytest.fixture(scope="module")
def learned():
    return GenRec(TINY, **QUICK).fit(DATA)


def test_the_prompt_lists_unique_titles_and_ends_with_the_cue():
    stage = saying("Ocean story 0", domain="book", history=2)
    stage.fit(TOPICS).retrieve(TOPICS.queries([0]), 1)
    shown = TOPICS.catalog.titles[TOPICS.queries([0]).history.item[-2:]]
    assert [prompt.text for prompt in stage.lm.asked] == [
        f"Here are books that a user has read, oldest first:\n1. {shown[0]}\n2. {shown[1]}\n\n"
        "Which one will the user read next? Answer with its title and nothing else."
    ]
    assert "noqa" not in "".join([*PROMPTS.en.values(), *PROMPTS.zh.values()])


def test_chinese_readers_are_asked_and_read_in_chinese():
    stage = saying("海洋故事0", history=1).fit(TOPICS)
    queries = replace(TOPICS.queries([1]), lang=np.array(["zh"], object))
    assert found(stage.retrieve(queries, 1)) == ["Ocean story 0"]
    assert stage.lm.asked[0].text.startswith("以下是一位用户选择过的物品（由旧到新）：\n1. ")
    trie = GenRec(TINY, epochs=0, beams=3).fit(TOPICS).retrieve(queries, 2)
    assert all(text.endswith(tuple("0123456789")) and "故事" in text for text in trie.notes[0]["raw"])


def test_the_template_of_tuning_is_that_of_asking(learned):
    """The released code tunes on one template and asks with another."""
    queries, items = cases(DATA, 4, 0)
    ask = learned._ask(learned.length)
    assert ask.taught(queries, items)[0] == ask.asked(queries)
    assert learned.adapter_["about"]["prompts"] == PROMPTS.hash


def test_the_loss_is_on_the_title_alone():
    """The released code trains on the prompt too."""
    small = {**QUICK, "epochs": 1, "examples": 4, "rate": 1e-6, "valid": 0, "batch": 4}
    stage = GenRec(TINY, **small)
    first = stage.fit(DATA).adapter_["about"]["losses"][0]
    queries, items = cases(DATA, 4, 0)
    prompts, answers = stage._ask(8).taught(queries, items)
    scored = TINY.score(prompts, [[one] for one in answers], closed=True)
    mean = -sum(row.logprobs[0] for row in scored) / sum(row.tokens[0] for row in scored)
    assert first == pytest.approx(mean, abs=2e-3)
    assert GenRec(TINY, **small, loss_on="all").fit(DATA).adapter_["about"]["losses"][0] != pytest.approx(
        first, abs=0.05
    )


def test_the_three_decodes_share_weights_and_only_free_words_are_invalid(learned):
    """The released code never looks whether a title exists."""
    queries = PLACE.queries.take(slice(0, 12))
    lists = {name: variant(learned, decode=name, backfill=False).retrieve(queries, 5) for name in ("trie", "free")}
    rates = {name: validity_of(one)["candidate_error_rate"].value for name, one in lists.items()}
    assert rates["trie"] == 0.0 < rates["free"]
    assert lists["trie"].lengths.tolist() == [5] * 12 and lists["free"].lengths.sum() < 60
    assert {status for note in lists["trie"].notes for status in note["status"]} == {"constrained"}


def test_grounding_repairs_and_both_rates_are_told():
    texts = ("Jazz story 2", "A tale of jazz", "qwerty")
    queries = TOPICS.queries([0])
    free, grounded = (saying(*texts, decode=name).fit(TOPICS).retrieve(queries, 3) for name in ("free", "grounded"))
    raw, repaired = "candidate_error_rate", "candidate_error_rate[repaired]"
    rates = [validity_of(one) for one in (free, grounded)]
    assert [one[raw].value for one in rates] == pytest.approx([2 / 3, 2 / 3])
    assert [one[repaired].value for one in rates] == pytest.approx([2 / 3, 1 / 3])
    assert found(free) == ["Jazz story 2"] and [title.split()[0] for title in found(grounded)] == ["Jazz", "Jazz"]
    assert grounded.notes[0]["status"] == ["exact", "nearest"]


@pytest.mark.parametrize("decode", ["free", "grounded"])
@pytest.mark.parametrize(
    "contract",
    ["any words", "exclusions", "filters", "tombstones", "strangers", "batch is single", "extends", "at most k"],
)
def test_every_decode_keeps_the_contracts(learned, decode, contract):
    CONTRACTS[contract](variant(learned, decode=decode, epochs=1, examples=8), world("trap"))


def test_titles_that_differ_by_marks_are_found_and_those_of_the_history_are_not():
    queries = TOPICS.queries([0])
    seen = str(TOPICS.catalog.titles[queries.history.item[-1]])
    lists = (
        saying("jazz story 2!", seen, "Jazz story 2", "“Castle story 4”", "Nothing story")
        .fit(TOPICS)
        .retrieve(queries, 5)
    )
    assert found(lists) == ["Jazz story 2", "Castle story 4"] and lists.notes[0]["seen"] == 1
    parse = lists.notes[0]["parse"]
    assert (parse["requested"], parse["matched"], parse["out_of_set"], parse["duplicates"]) == (5, 2, 1, 1)
    assert np.allclose(lists.fields["score.genrec"], np.log(1 / 5), atol=1e-6)


def test_what_is_left_open_is_filled_by_what_is_popular_and_says_so():
    lists = saying("Jazz story 2", backfill=True).fit(TOPICS).retrieve(TOPICS.queries([0]), 3)
    assert lists.notes[0]["status"] == ["exact", "backfilled", "backfilled"] and found(lists)[0] == "Jazz story 2"
    assert np.isnan(lists.fields["score.genrec"][1:]).all() and (np.diff(lists.scores) < 0).all()


def test_users_without_likes_get_what_is_popular_and_nobody_is_asked():
    stage = saying("Jazz story 2", backfill=True).fit(TOPICS)
    queries = TOPICS.queries([0])
    none = queries.with_history(queries.history.where(np.zeros(len(queries.history.item), bool)))
    lists = stage.retrieve(none, 4)
    assert lists.notes[0]["status"] == ["backfilled"] * 4 and not stage.lm.asked
    assert found(stage.retrieve(replace(queries, user=np.array([-1], np.int32)), 1)) == ["Jazz story 2"]
    assert stage.retrieve(queries, 0).lengths.tolist() == [0]


def test_new_items_are_written_at_once(learned):
    data = DATA.with_items([Item("new", "Title 99")])
    assert data.catalog.ids(saying("Title 99").fit(DATA).extend(data.catalog).retrieve(data.queries([0]), 1).items) == [
        "new"
    ]
    many = learned.extend(data.catalog).retrieve(data.queries([0]), 30)
    assert data.catalog.rows(["new"])[0] in many.items
    assert many.notes[0]["status"].count("constrained") == 21 - 8


def shop(titles, past=(0,)):
    """A data set of one user."""
    catalog = Catalog.of([Item(f"i{n}", title) for n, title in enumerate(titles)])
    log = Interactions.of({"user": [0] * len(past), "item": list(past), "time": np.arange(len(past), dtype=float)}, 1)
    return Dataset(catalog, log, Users(IdTable.of(["u"])), name="shop")


def test_a_catalog_of_one_item_is_served():
    data = shop(["red lamp"])
    stage = GenRec(TINY, epochs=0).fit(data)
    assert len(stage.retrieve(data.queries(), 3).items) == 0
    nobody = data.queries().excluding(np.zeros(0, np.int32), np.zeros(2, np.int64))
    assert stage.retrieve(nobody, 3).items.tolist() == [0]


@pytest.mark.parametrize("decode", ["trie", "grounded"])
def test_items_without_words_are_named_by_their_ids(decode):
    data = shop(["", "", "blue lamp"])
    if decode == "trie":
        lists = GenRec(TINY, epochs=0, backfill=False).fit(data).retrieve(data.queries(), 3)
        assert sorted(lists.items.tolist()) == [1, 2]
    else:
        assert saying("i1", decode="grounded").fit(data).retrieve(data.queries(), 3).items.tolist() == [1]


def test_items_of_one_title_are_told_apart():
    data = shop(["Heat", "Heat", "Heat"])
    lists = GenRec(TINY, epochs=0, backfill=False).fit(data).retrieve(data.queries(), 3)
    assert sorted(lists.items.tolist()) == [1, 2] and set(lists.notes[0]["raw"]) == {"Heat #2", "Heat #3"}


def test_a_log_in_which_nothing_follows_is_refused():
    with pytest.raises(DataError, match="one after the other"):
        GenRec(TINY, **{**QUICK, "valid": 0}).fit(shop(["a", "b"]))


def test_a_model_that_says_nothing_degrades_to_what_is_popular():
    told = []
    lm = Scripted(lambda prompt: Completion("", "error", error="broken"))
    with run(complain=told.append):
        lists = GenRec(lm, epochs=0, decode="free").fit(DATA).retrieve(DATA.queries([0, 1]), 5)
    assert told == ["2 of 2 questions have no title: broken"] and lists.lengths.tolist() == [5, 5]
    assert lists.notes[0]["parse"]["refused"] == 1


def test_a_model_without_beams_in_a_trie_is_asked_by_choice_within_what_is_popular_first():
    stage = GenRec(Overlap(), epochs=0, backfill=False).fit(TOPICS)
    lists = stage.retrieve(TOPICS.queries([0, 1]), 3)
    assert lists.lengths.tolist() == [3, 3] and lists.notes[0]["parse"]["out_of_set"] == 0
    topic = str(TOPICS.catalog.titles[TOPICS.queries([0]).history.item[-1]]).split()[0]
    assert {title.split()[0] for title in found(lists)} == {topic}


def test_what_is_learned_is_whole_validated_and_comes_back(learned, tmp_path):
    about, tensors = learned.adapter_["about"], learned.adapter_["tensors"]
    assert all(np.abs(tensors[name]).max() > 0 for name in tensors if name.endswith(".B"))
    assert about["examples"] == 16 and about["valid"]["metric"] == "-loss" and about["method"] == "genrec"
    queries = DATA.queries([0, 1, 2])
    before = learned.titled(queries, 4)
    blank = variant(learned, epochs=0).fit(DATA).titled(queries, 4)
    assert [one.rows for one in before] != [one.rows for one in blank]
    assert learned.adapter_ is not None
    save(learned, tmp_path / "kept")
    again = load(tmp_path / "kept", lambda kind, spec, options: TINY)
    assert again.titled(queries, 4) == before


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder that a run was killed in after its first epoch."""
    folder = tmp_path_factory.mktemp("scratch")

    class Killed(Exception):
        pass

    def kill(event):
        if event["kind"] == "progress" and event["label"] == "tune" and event["done"] == 2:
            raise Killed

    with pytest.raises(Killed), run(scratch=folder, emit=kill):
        GenRec(TINY, **{**QUICK, "batch": 8}).fit(DATA)
    return folder


def test_tuning_that_was_killed_goes_on_and_ends_in_the_same_bits(killed):
    whole = GenRec(TINY, **{**QUICK, "batch": 8}).fit(DATA).adapter_["tensors"]
    seen = []
    with run(scratch=killed, emit=seen.append):
        again = GenRec(TINY, **{**QUICK, "batch": 8}).fit(DATA).adapter_["tensors"]
    assert all(np.array_equal(whole[name], again[name]) for name in whole)
    assert len([event for event in seen if event["label"] == "tune"]) < 4 + 1


def test_as_many_beams_are_looked_at_as_is_said_and_as_the_list_is_long(learned, monkeypatch):
    seen, search = [], type(TINY).search
    monkeypatch.setattr(
        type(TINY), "search", lambda self, *a, **more: (seen.append(more["beams"]), search(self, *a, **more))[1]
    )
    for beams, k in ((7, 2), (3, 5)):
        variant(learned, beams=beams).titled(DATA.queries([0]), k)
    assert seen == [7, 5]


def test_an_adapter_of_another_fit_serves(learned):
    folder = Recipe.of(learned).adapter(learned.adapter_)
    served = GenRec(TINY, **{**QUICK, "epochs": 0, "start": folder}).fit(DATA)
    assert served.adapter_ is None and served.titled(DATA.queries([0]), 3) == learned.titled(DATA.queries([0]), 3)


@pytest.mark.parametrize("decode", ["trie", "free"])
def test_wrapped_models_answer_alike(learned, decode, tmp_path):
    queries = DATA.queries([0, 1])
    wanted = variant(learned, decode=decode).titled(queries, 3)
    for _ in range(2):
        lm = Cassette(Guarded(TINY), tmp_path / "tape.jsonl")
        made = variant(learned, decode=decode, lm=lm).titled(queries, 3)
        assert [[row[0] for row in one.rows] for one in made] == [[row[0] for row in one.rows] for one in wanted]
    assert (lm.hits, lm.misses) == (2, 0)


class Plain(Scripted):
    """A model that has words only."""

    can = frozenset({"text"})


def test_what_a_model_lacks_is_said_when_it_is_built():
    with pytest.raises(CapabilityError, match="weights") as caught:
        GenRec(Overlap())
    assert "epochs=0" in caught.value.hint and "hf:" in caught.value.hint
    with pytest.raises(CapabilityError, match="trie or choice") as caught:
        GenRec(Plain(lambda prompt: ""), epochs=0)
    assert "grounded" in caught.value.hint and "hf:" in caught.value.hint
    GenRec(Plain(lambda prompt: ""), epochs=0, decode="grounded")


@pytest.mark.parametrize(
    "wrong",
    [{"beams": 0}, {"history": 0}, {"length": 0}, {"valid": -1}, {"decode": "beam"}, {"how": "beam"},
     {"domain": "films"}, {"epochs": -1}, {"temperature": -1.0}, {"examples": 0}, {"loss_on": "most"}],
)  # fmt: skip
def test_impossible_options_are_refused(wrong):
    with pytest.raises(OptionError):
        saying("Jazz", **{"beams": 1, **wrong})


def test_an_estimate_counts_tuning_and_beams_and_asks_nobody():
    small = {**QUICK, "valid": 0}
    free = estimate(GenRec(TINY, **small, decode="free"), DATA, 10, k=5)
    assert free.fit_calls == 16 * 2 and free.calls == 32 + 10 and free.tokens_out == 10 * 5 * 8
    assert estimate(GenRec(TINY, **small), DATA, 10, k=5).calls >= 32 + 10
