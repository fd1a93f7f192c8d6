import re
from pathlib import Path

import pytest
from tests.cli.calls import fails, written

from hexarec.cli.systems import Bench, experiment_of, open_configured
from hexarec.core import OptionError
from hexarec.data.worlds import world
from hexarec.eval.opening import guarded, needed, pipeline_of
from hexarec.lm.guard import Guarded
from hexarec.pipeline.config import read_toml

DATA = world("order").data


@pytest.fixture
def config(tmp_path):
    return read_toml(written(tmp_path))


def systems(config, folder=Path(), **bench):
    return experiment_of({**config, "bench": bench}, folder, DATA, {}).systems


def test_only_the_models_that_are_reached_are_opened(config):
    assert set(needed(config)["use"]) == {"lm", "llm"}
    made = pipeline_of(config)
    assert isinstance(made.rank_by.ranker.lm, Guarded) and made.rank_by.ranker.lm.spec == "fake:overlap"


def test_a_model_is_guarded_once(config):
    once = pipeline_of(config)
    lm = guarded(once).rank_by.ranker.lm
    assert isinstance(lm, Guarded) and not isinstance(lm.lm, Guarded)


def test_prices_and_rates_of_a_model_stand_in_the_file(config):
    config["use"]["lm"] |= {"price_in": 2.0, "price_out": 4.0, "rate_per_minute": 600, "retries": 1}
    lm = pipeline_of(config).rank_by.ranker.lm
    assert lm._prices == (2e-6, 4e-6) and lm._retries == 1 and not isinstance(lm.lm, Guarded)


def test_without_systems_the_pipeline_is_measured(config):
    made = experiment_of(config, Path(), DATA, {})
    assert list(made.systems) == ["pipeline"] and made.systems["pipeline"].strict
    assert made.systems["pipeline"].explain_by is None and made.k == 20 and made.seeds == (0,)


def test_names_or_tables(config, tmp_path):
    written(tmp_path, '[retrieve]\nuse = "popular"\n', "other.toml")
    assert list(systems(config, tmp_path, systems=["pipeline", "userknn", "other.toml"])) == [
        "pipeline", "userknn", "other.toml",
    ]  # fmt: skip
    made = systems(
        config,
        systems={
            "near": {"use": "itemknn", "neighbours": 3},
            "bare": {"use": "pipeline", "without": ["rank"]},
            "swapped": {"use": "pipeline", "models": {"lm": "fake:position"}},
        },
    )
    assert made["near"].retrieve_by[0].neighbours == 3 and made["bare"].rank_by is None
    assert made["swapped"].rank_by.ranker.lm.spec == "fake:position"


def test_rankers_need_candidates(config):
    with pytest.raises(OptionError, match="'llmrank' finds no candidates; it can rank"):
        systems(config, systems={"llm": {"use": "@llm"}})
    made = systems(config, systems={"llm": {"use": "@llm"}, "near": {"use": "itemknn"}}, candidates=5)
    assert type(made["llm"].rank_by).__name__ == "LLMRank" and type(made["near"].rank_by).__name__ == "ItemKNN"


def test_a_method_that_finds_nothing_stands_over_a_retriever(config):
    made = systems(
        config,
        systems={
            "llm": {"use": "@llm", "over": "ease", "window": 7},
            "varied": {"use": "mmr", "over": {"use": "itemknn", "neighbours": 3}},
        },
    )
    assert type(made["llm"].retrieve_by[0]).__name__ == "EASE" and made["llm"].rank_by.size == 7
    assert type(made["llm"].rank_by.ranker).__name__ == "LLMRank"
    assert made["varied"].retrieve_by[0].neighbours == 3 and type(made["varied"].control_by[0]).__name__ == "MMR"
    with pytest.raises(OptionError, match="FrozenEncoder has no option 'window'"):
        systems(config, systems={"text": {"use": "frozen_encoder", "encoder": "tfidf", "window": 3}})
    with pytest.raises(OptionError, match="over: 'because' can explain"):
        systems(config, systems={"why": {"use": "because", "over": "ease"}})


@pytest.mark.parametrize(
    ("bench", "said"),
    [
        ({"spilt": "last"}, "did you mean 'split'"),
        ({"k": "many"}, "bench"),
        ({"split": "never"}, "split"),
        ({"metrics": ["ndgc@10"]}, "did you mean 'ndcg@10'"),
        ({"baseline": "eas"}, "not measured"),
        ({"systems": ["eas"]}, "did you mean 'ease'"),
        ({"systems": {"x": {"neighbours": 3}}}, "needs use"),
        ({"systems": {"x": {"use": "pipeline", "with": 3}}}, "has no 'with'"),
        ({"systems": {"x": {"use": "pipeline", "without": ["ranker"]}}}, "no slot 'ranker'"),
        ({"systems": {"x": {"use": "pipeline", "models": {"ml": "fake:overlap"}}}}, "has no model 'ml'"),
        ({"systems": {"x": {"use": "@nothing"}}}, "names no '@nothing'"),
        ({"systems": {"x": {"use": "mmr"}}}, "it can control"),
    ],
)
def test_whatever_is_wrong_is_found_before_anything_runs(config, bench, said):
    with pytest.raises(OptionError) as caught:
        systems(config, **bench)
    assert said in str(caught.value)


def test_the_command_line_wins_and_only_narrows(config):
    bench = Bench.of({"max_users": 10, "seeds": [1]}, {"max_users": 3, "seeds": None})
    assert bench.max_users == 3 and bench.seeds == (1,)
    told = {**config, "bench": {"systems": ["popular.toml", "userknn"]}}
    assert list(experiment_of(told, Path(), DATA, {}, ["userknn"]).systems) == ["userknn"]
    with pytest.raises(OptionError, match="no system 'nobody'"):
        experiment_of(told, Path(), DATA, {}, ["nobody"])


def test_data_is_found_beside_the_file(tmp_path, monkeypatch):
    from hexarec.data.store import write_dataset

    write_dataset(DATA, tmp_path / "here" / "mine")
    monkeypatch.chdir(tmp_path)
    assert open_configured({"data": {"path": "mine"}}, tmp_path / "here").key == DATA.key
    assert open_configured({"data": {"path": "here/mine"}}, tmp_path / "here").key == DATA.key
    assert open_configured({"data": {"path": "mine"}}, tmp_path, "world:cold").name == "world:cold"


def test_import_options_stand_in_the_data_section(tmp_path):
    (tmp_path / "e.csv").write_text("who,what,when\n" + "".join(f"u{n % 4},i{n},{n + 1e9:.0f}\n" for n in range(12)))
    section = {"path": "e.csv", "map": {"user": "who", "item": "what", "time": "when"}, "name": "mine"}
    made = open_configured({"data": section}, tmp_path)
    assert made.name == "mine" and made.n_users == 4 and made.n_items == 12


def test_window_is_the_methods_own_where_it_picks_and_has_one(config):
    table = {"use": "diversity", "over": "ease", "window": 3}
    assert systems(config, systems={"x": table})["x"].control_by[0].window == 3
    ranked = systems(config, systems={"x": {"use": "llmrank", "lm": "@lm", "over": "ease", "window": 3}})["x"]
    assert ranked.rank_by.size == 3
    with pytest.raises(OptionError, match=r"\[bench.systems.x\] window: 'mmr' ranks nothing"):
        systems(config, systems={"x": {"use": "mmr", "over": "ease", "window": 3}})


@pytest.mark.parametrize("window", [0, -1, 2.5, "3", True])
def test_a_window_of_a_ranker_is_a_number(config, window):
    with pytest.raises(OptionError, match=r"\[bench.systems.x\] window = .* is not a whole number of at least 1"):
        systems(config, systems={"x": {"use": "llmrank", "lm": "@lm", "over": "ease", "window": window}})


@pytest.mark.parametrize(
    ("lm", "use", "words"),
    [
        ("5", "nir", r"\[use.lm\] is not a table but 5\n  -> write lm = "),
        ('"fake:overlap"', "@lm", r"\[bench.systems.a\]: '@lm' is no stage\n  -> name a stage of \[use\]"),
    ],
)
def test_what_is_no_stage_is_named_with_its_file(tmp_path, lm, use, words):
    system = f'[bench.systems.a]\nuse = "{use}"\nlm = "fake:overlap"\nover = "@lm"\n'
    path = written(tmp_path, f'[data]\npath = "world:cold"\n[use]\nlm = {lm}\n{system}')
    assert re.search("hexarec.toml: " + words, fails("bench", "-c", path))
    if use == "nir":
        path = written(tmp_path, f'[data]\npath = "world:cold"\n[use]\nlm = {lm}\n[[retrieve]]\nuse = "@lm"')
        assert re.search("hexarec.toml: " + words, fails("fit", "-c", path, "--out", tmp_path / "m"))
