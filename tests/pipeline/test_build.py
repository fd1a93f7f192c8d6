import pytest

from hexarec.classic import EASE, IALS, ItemKNN, Popular
from hexarec.core import OptionError
from hexarec.methods.frozen_encoder import FrozenEncoder
from hexarec.methods.llmrank import LLMRank
from hexarec.parts.prompts import Prompts
from hexarec.pipeline.build import build, card, cards, checked, needs_met, resolve
from hexarec.pipeline.combine import Fuse, Window


def test_a_stage_is_its_name_and_its_options():
    assert build("ease", {"regularization": 20.0}) == EASE(20.0) and build("popular") == Popular()


@pytest.mark.parametrize(
    ("name", "options", "value"),
    [
        ("itemknn", {"neighbours": "4"}, 4),
        ("itemknn", {"last": None}, None),
        ("itemknn", {"last": "3"}, 3),
        ("ease", {"regularization": "2.5"}, 2.5),
        ("ease", {"regularization": 3}, 3.0),
        ("mmr", {"by": "attribute"}, "attribute"),
    ],
)
def test_options_take_their_declared_type(name, options, value):
    key = next(iter(options))
    made = getattr(build(name, options), key)
    assert made == value and type(made) is type(value)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("itemknn", {"neighbours": "many"}, r"itemknn\.neighbours = 'many'"),
        ("itemknn", {"neighbours": 2.5}, "neighbours"),
        ("itemknn", {"similarity": "euclid"}, "similarity"),
        ("mmr", {"by": "magic"}, "mmr.by"),
        ("ease", {"regularization": float("inf")}, "ease.regularization = inf: input should be a finite number"),
        ("itemknn", {"shrink": float("nan")}, "finite"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_field(name, options, words):
    with pytest.raises(OptionError, match=words):
        build(name, options)


def test_an_unknown_method_or_option_is_refused_with_the_one_meant():
    with pytest.raises(OptionError, match="no method 'eas'\n  -> did you mean 'ease'"):
        build("eas")
    with pytest.raises(OptionError, match="did you mean 'neighbours'.*options: neighbours, last, shrink, similarity"):
        build("itemknn", {"neighbors": 3})
    with pytest.raises(OptionError, match="hexarec methods list"):
        card("zzzzzz")


def test_a_missing_option_is_named():
    with pytest.raises(OptionError, match="window: .*ranker.*\n  -> options not given: ranker"):
        build("window", {"size": 3})


def test_models_are_opened_by_name_and_stages_may_stand_inside_stages():
    made = build("window", {"ranker": {"use": "llmrank", "lm": "fake:overlap", "rounds": "2"}, "size": 5})
    assert isinstance(made, Window) and isinstance(made.ranker, LLMRank) and made.ranker.rounds == 2
    assert made.ranker.lm.name == "fake:overlap"
    text = build("frozen_encoder", {"encoder": "tfidf", "ids": {"use": "ials"}})
    assert isinstance(text, FrozenEncoder) and isinstance(text.ids, IALS)


def test_references_are_the_same_object_wherever_they_stand():
    shared = ItemKNN()
    made = build("fuse", {"retrievers": ["@knn", {"use": "popular"}], "weights": [1, 0.5]}, {"knn": shared})
    assert isinstance(made, Fuse) and made.retrievers[0] is shared and isinstance(made.retrievers[1], Popular)
    assert build("window", {"ranker": "@knn"}, {"knn": shared}).ranker is shared


def test_a_reference_to_nothing_is_refused_with_the_one_meant():
    with pytest.raises(OptionError, match="nothing is called '@kn'\n  -> did you mean '@knn'"):
        build("window", {"ranker": "@kn"}, {"knn": ItemKNN()})
    with pytest.raises(OptionError, match="use.* has nothing"):
        build("window", {"ranker": "@kn"})


def test_every_card_is_found_under_its_own_name_and_loads():
    assert {"llmrank", "ease", "fuse", "blend"} <= set(cards())
    for name, row in cards().items():
        assert row.name == name and isinstance(row.load(), type)


def test_what_is_needed_and_missing_is_said_in_words():
    assert needs_met(["ease", "sasrec"], frozenset({"ratings"})) == ["sasrec needs torch"]
    assert needs_met(["ease"], frozenset({"ratings", "text"})) == []


def test_saved_references_to_models_open_again():
    assert resolve("lm", "fake:position", {"strength": 0.9}).strength == 0.9
    assert resolve("encoder", "tfidf", {"dim": 7}).dim == 7


def test_values_of_types_that_cannot_be_checked_pass_as_they_are():
    assert checked("x", thing := object(), object) is thing and checked("x", thing, int | object) is thing


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "filterllm",
            {"encoder": "tfidf", "cf": {"use": "ease"}},
            "filterllm.cf: 'ease' is no backbone\n  -> take .*ials, bpr",
        ),
        ("filterllm", {"encoder": "tfidf", "cf": "@e"}, "filterllm.cf: '@e' is no backbone"),
        ("filterllm", {"encoder": "tfidf", "cf": "ials"}, "'ials' is no backbone\n  -> write { use = \"ials\" }"),
        ("filterllm", {"encoder": "tfidf", "cf": 3}, "filterllm.cf: 3 is no backbone"),
        ("collm", {"lm": "fake:overlap", "cf": {"use": "ease"}}, "collm.cf: 'ease' is no backbone\n.*din"),
        ("llmtreerec", {"encoder": {"use": "ease"}}, "llmtreerec.encoder: 'ease' is no encoder\n  -> .*minilm"),
        ("llmtreerec", {"encoder": "@e"}, "llmtreerec.encoder: '@e' is no encoder"),
        ("nir", {"lm": {"use": "ease"}}, "nir.lm: 'ease' is no language model\n  -> .*gguf:smollm2"),
        ("nir", {"lm": "@e"}, "nir.lm: '@e' is no language model"),
        ("nir", {"lm": 5}, "nir.lm: 5 is no language model"),
        ("filterllm", {"encoder": "tfidf", "share": {"use": "ease"}}, "filterllm.share = {'use': 'ease'}: .*number"),
        ("filterllm", {"encoder": "tfidf", "tune": "@e"}, "filterllm.tune = '@e': .*boolean"),
        ("nir", {"lm": "fake:overlap", "domain": {"use": "ease"}}, "nir.domain = {'use': 'ease'}: .*string"),
        ("frozen_encoder", {"encoder": "tfidf", "fields": ["title", "@e"]}, r"fields = \['title', '@e'\]: .*string"),
        ("fuse", {"retrievers": ["@e", {"use": "mmr"}]}, "fuse.retrievers: 'mmr' is no retriever\n  -> take "),
        ("fuse", {"retrievers": {"use": "ease"}}, "fuse.retrievers: 'ease' is no list"),
        ("fuse", {"retrievers": ["popular"]}, "'popular' is no retriever\n  -> write { use = \"popular\" }"),
        ("window", {"ranker": {"use": 5}}, "window.ranker: use = 5 is no name"),
    ],
)
def test_an_option_takes_only_what_can_do_its_work(name, options, words):
    with pytest.raises(OptionError, match=words):
        build(name, options, {"e": EASE()})


def test_what_can_do_the_work_is_taken_from_a_table_a_name_and_as_an_object():
    uses = {"din": build("din"), "ials": IALS()}
    assert build("collm", {"lm": "fake:overlap", "cf": "@din", "shots": 0}, uses).cf is uses["din"]
    assert build("filterllm", {"encoder": "tfidf", "cf": uses["ials"]}).cf is uses["ials"]
    assert build("frozen_encoder", {"encoder": "tfidf", "ids": None}).ids is None


@pytest.mark.parametrize("name", ["nir", "llmtreerec", "chatrec", "agent4rec", "diversity", "tallrec"])
@pytest.mark.parametrize("value", ["nice", 5, [1], True, {"en": {}}, {"use": "ease"}])
def test_wording_is_given_as_prompts_or_not_at_all(name, value):
    model = {"encoder": "tfidf"} if name == "llmtreerec" else {"lm": "fake:overlap"}
    fields = {"nir": ["prompts", "reasons"]}.get(name, ["prompts"])
    for field in fields:
        with pytest.raises(OptionError, match=rf"{name}\.{field} = .*: input should be Prompts\n  -> leave it out"):
            build(name, {**model, field: value})


def test_prompts_are_taken_as_an_object():
    own = Prompts("mine", 1, {"a": "b"}, {"a": "c"})
    assert build("nir", {"lm": "fake:overlap", "prompts": own}).prompts is own


@pytest.mark.parametrize("field", ["ranker", "size"])
def test_an_error_about_an_address_tells_no_password(field):
    address = "openai:http://user:pass5word@host/v1#m"
    options = {"ranker": Popular(), "size": 5, field: address}
    for name, given in (("window", options), (address, {})):
        with pytest.raises(OptionError, match="openai:http://host/v1#m") as caught:
            build(name, given)
        assert "pass5word" not in str(caught.value)
