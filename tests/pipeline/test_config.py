import tomllib

import pytest

import hexarec
from hexarec.classic import EASE, MMR, Popular
from hexarec.core import OptionError
from hexarec.lm.guard import Guarded
from hexarec.methods.llmrank import LLMRank
from hexarec.pipeline.config import SLOTS, default_config, pipeline_from, read_pipeline, read_toml
from hexarec.pipeline.pipeline import Pipeline

WHOLE = """
[pipeline]
name = "home"
depth = 30

[use.lm]
model = "fake:overlap"

[use.ease]
use = "ease"
regularization = 20

[[retrieve]]
use = "@ease"
weight = 2.0

[[retrieve]]
use = "popular"

[rank]
use = "window"
ranker = { use = "llmrank", lm = "@lm", backend = "list" }
size = "5"

[[control]]
use = "mmr"

[explain]
use = "because"
lm = "@lm"

[data]
path = "somewhere"
"""


def made_from(text):
    return pipeline_from(tomllib.loads(text))


def test_twenty_lines_are_a_pipeline():
    made = made_from(WHOLE)
    assert (made.name, made.depth, made.weights) == ("home", 30, (2.0, 1.0))
    assert made.retrieve_by == (EASE(20.0), Popular()) and made.control_by == (MMR(),)
    assert isinstance(made.rank_by.ranker, LLMRank) and made.rank_by.size == 5
    assert made.rank_by.ranker.lm is made.explain_by.lm


def test_a_named_stage_in_two_slots_is_one_object_fitted_once():
    from .makers import DATA

    made = made_from('[use.e]\nuse = "ease"\n[[retrieve]]\nuse = "@e"\n[rank]\nuse = "@e"')
    assert made.retrieve_by[0] is made.rank_by
    fitted = made.fit(DATA)
    assert fitted.retrieve_[0] is fitted.rank_


RETRIEVE = '[[retrieve]]\nuse = "popular"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[retreive]\nuse = "ease"', r"unknown section \[retreive\]\n  -> did you mean \[retrieve\]"),
        ('[[retrieve]]\nuse = "popula"', "no method 'popula'\n  -> did you mean 'popular'"),
        ('[[retrieve]]\nuse = "ease"\nregularisation = 3', "did you mean 'regularization'"),
        ("[[retrieve]]\nweight = 3", r"\[retrieve\] needs use"),
        ('retrieve = "ease"', r"\[retrieve\] needs use"),
        ('[[retrieve]]\nuse = "mmr"', "'mmr' cannot retrieve\n  -> hexarec methods list --stage retrieve"),
        (RETRIEVE + '[[rank]]\nuse = "ease"\n[[rank]]\nuse = "ease"', r"\[rank\] is one stage, not 2"),
        (RETRIEVE + "[pipeline]\ndeph = 3", r"\[pipeline\] has no deph"),
        ('[rank]\nuse = "ease"', "at least one retriever"),
        ('[[retrieve]]\nuse = "@e"', r"refers to @e, which \[use\] does not name"),
        ('[use.e]\nuse = "ease"\n[[retrieve]]\nuse = "@e"\nregularization = 3', r"its options stand in \[use\]"),
        (RETRIEVE + "[use]\ne = 3", r"\[use.e\] is not a table"),
        (RETRIEVE + "[use.e]\nsize = 3", "one of use, model, encoder"),
        (RETRIEVE + '[use.lm]\nmodel = "fake:overlap"\nencoder = "tfidf"', "one of use, model, encoder"),
        (RETRIEVE + '[use.lm]\nmodel = "fake:overlop"', "no model called 'fake:overlop'"),
        ('[[retrieve]]\nuse = ["popular"]', r"\[retrieve\] use = \['popular'\] is no name"),
        (
            '[use.a]\nuse = "window"\nranker = "@b"\n[use.b]\nuse = "ease"\n' + RETRIEVE,
            r"\[use.a\] refers to @b, which comes later or leads back to it\n  -> write \[use.b\] above \[use.a\]",
        ),
        ('[use.a]\nuse = "window"\nranker = "@a"\n' + RETRIEVE, r"\[use.a\] refers to @a"),
    ],
)
def test_what_it_does_not_know_is_refused_in_words(text, words):
    with pytest.raises(OptionError, match=words):
        made_from(text)


def test_entries_of_use_are_built_in_order_and_may_refer_to_earlier_ones():
    text = '[use.a]\nuse = "ease"\n[use.b]\nuse = "fuse"\nretrievers = ["@a"]\n[[retrieve]]\nuse = "@b"'
    made = made_from(text)
    assert isinstance(made.retrieve_by[0].retrievers[0], EASE)


def test_a_model_may_be_named_by_a_string_and_limited_by_numbers():
    made = made_from(RETRIEVE + '[use]\nlm = "fake:overlap"\n[rank]\nuse = "llmrank"\nlm = "@lm"')
    assert made.rank_by.lm.name == "fake:overlap"
    limited = made_from(
        RETRIEVE + '[use.lm]\nmodel = "fake:overlap"\nprice_in = 2.0\n[rank]\nuse = "llmrank"\nlm = "@lm"'
    )
    assert isinstance(limited.rank_by.lm, Guarded)


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path):
    with pytest.raises(OptionError, match="there is no file .*missing.toml\n  -> hexarec init"):
        read_toml(tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_text("[a\n")
    with pytest.raises(OptionError, match=r"bad\.toml: .*line 1"):
        read_toml(tmp_path / "bad.toml")
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe9"')
    with pytest.raises(OptionError, match=r"latin\.toml"):
        read_toml(tmp_path / "latin.toml")


def test_an_error_in_a_file_names_the_file_and_keeps_the_hint(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('[[retrieve]]\nuse = "popula"')
    with pytest.raises(OptionError, match="p.toml: no method 'popula'\n  -> did you mean 'popular'"):
        read_pipeline(path)
    path.write_text(WHOLE)
    assert read_pipeline(path).name == "home"


def small(config):
    """The default configuration on doubles."""
    config["use"] |= {"lm": {"model": "fake:overlap"}, "text_encoder": {"encoder": "tfidf"}}
    return config


def test_the_default_pipeline_builds_and_serves_on_doubles():
    from .makers import DATA, QUERIES

    made = pipeline_from(small(default_config())).fit(DATA)
    answer = made.recommend(QUERIES, 3)
    assert answer.degraded == () and (answer.items.lengths == 3).all() and len(answer.reasons) == len(QUERIES)
    assert set(default_config()) <= {"pipeline", "use", *SLOTS}


def test_the_package_can_be_called_with_other_models(tmp_path):
    made = hexarec.pipeline("default", lm="fake:overlap", text_encoder="tfidf")
    assert isinstance(made, Pipeline) and made.explain_by.lm.name == "fake:overlap"
    (tmp_path / "p.toml").write_text(WHOLE)
    assert hexarec.pipeline(tmp_path / "p.toml", lm="fake:position").explain_by.lm.name == "fake:position"
    with pytest.raises(OptionError, match=r"\[use\] has no model 'llm'\n  -> models: lm"):
        hexarec.pipeline(tmp_path / "p.toml", llm="fake:overlap")


def test_the_package_can_be_called_with_a_model_named_by_a_string():
    config = tomllib.loads(RETRIEVE + '[use]\nlm = "fake:overlap"\n[rank]\nuse = "llmrank"\nlm = "@lm"')
    assert hexarec.pipeline(config).rank_by.lm.name == "fake:overlap"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[use]\nlm = 5", r"\[use.lm\] is not a table but 5\n  -> write lm = \"gguf"),
        ("use = 5", r"\[use\] = 5 is not a table of names\n  -> write"),
        ("[use.lm]\nmodel = 5", r'\[use.lm\] model = 5 is no name\n  -> write model = "gguf'),
        ("[use.e]\nuse = 5", r'\[use.e\] use = 5 is no name\n  -> write use = "ease"'),
        ("[use.e]\nencoder = [1]", r'\[use.e\] encoder = \[1\] is no name\n  -> write encoder = "minilm"'),
        ('[rank]\nuse = "window"\nranker = {use = 5}', "window.ranker: use = 5 is no name\n  -> write"),
        ("pipeline = 5", r"\[pipeline\] = 5 is not a table\n  -> it has name and depth"),
        ('[[retrieve]]\nuse = "ease"\nweight = "much"', r"\[retrieve\] weight = 'much': .*number"),
    ],
)
def test_a_value_of_another_shape_is_named_with_its_file_its_field_and_the_mend(text, words, tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(text + "\n" + ("" if "retrieve" in text else RETRIEVE))
    for read in (read_pipeline, hexarec.pipeline):
        with pytest.raises(OptionError, match=f"p.toml: {words}"):
            read(path)


def test_a_mark_at_the_start_of_a_file_is_no_part_of_it(tmp_path):
    (tmp_path / "p.toml").write_bytes(b"\xef\xbb\xbf" + RETRIEVE.encode())
    assert read_pipeline(tmp_path / "p.toml").retrieve_by == (Popular(),)
