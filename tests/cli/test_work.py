import json
import re
import tomllib

from tests.cli.calls import call, fails, written

from hexarec.core import manifest
from hexarec.pipeline import make


def test_init_writes_a_file_that_is_the_default_pipeline(tmp_path):
    made = call("init", tmp_path / "shop", "--lm", "fake:overlap", "--encoder", "tfidf")
    path = tmp_path / "shop" / "hexarec.toml"
    config = tomllib.loads(path.read_text())
    assert config["data"]["path"] == "films" and config["use"]["llm"]["domain"] == "film"
    assert config["use"]["lm"]["model"] == "fake:overlap" and config["use"]["text_encoder"]["encoder"] == "tfidf"
    assert len(make(path).retrieve_by) == 3 and set(config["bench"]["systems"]) == {"pipeline", "without-model"}
    assert f"hexarec fit -c {path}" in made.stderr


def test_init_refuses_to_overwrite(tmp_path):
    call("init", tmp_path, "--data", 'a "quoted" name')
    text = (tmp_path / "hexarec.toml").read_text()
    assert tomllib.loads(text)["data"]["path"] == 'a "quoted" name'
    assert "--force overwrites it" in fails("init", tmp_path)
    assert (tmp_path / "hexarec.toml").read_text() == text
    call("init", tmp_path, "--force", "--domain", "book")
    assert tomllib.loads((tmp_path / "hexarec.toml").read_text())["use"]["llm"]["domain"] == "book"
    assert "unknown domain 'cheese'" in fails("init", tmp_path, "--force", "--domain", "cheese")
    assert "there is no model called 'smollm2'" in fails("init", tmp_path, "--force", "--lm", "smollm2")
    assert "there is no model called 'mini'" in fails("init", tmp_path, "--force", "--encoder", "mini")
    call("init", tmp_path / "later", "--lm", "gguf:/not/there/yet.gguf")


def test_fit_keeps_the_pipeline_and_where_its_data_is(tmp_path):
    made = call("fit", "-c", written(tmp_path), "--out", tmp_path / "model")
    assert "fitted pipeline on world:cold: 60 items, 360 events" in made.stdout
    assert manifest(tmp_path / "model")["name"] == "pipeline"
    assert json.loads((tmp_path / "model" / "source.json").read_text())["data"] == "world:cold"
    # again, in the same place
    call("fit", "-c", written(tmp_path), "--out", tmp_path / "model", "--seed", 3)
    assert manifest(tmp_path / "model")["seed"] == 3


def test_a_configuration_that_is_missing_or_wrong_is_named(tmp_path):
    assert "hexarec init writes one" in fails("fit", "-c", tmp_path / "none.toml", "--out", tmp_path / "m")
    wrong = written(tmp_path, '[retreive]\nuse = "ease"\n')
    assert "did you mean [retrieve]" in fails("fit", "-c", wrong, "--out", tmp_path / "m")
    nameless = written(tmp_path, '[retrieve]\nuse = "ease"\n')
    assert "no data set is named" in fails("fit", "-c", nameless, "--out", tmp_path / "m")
    strange = written(tmp_path, '[retrieve]\nuse = "ease"\n[data]\npat = "films"\n')
    assert "[data] has no 'pat'" in fails("fit", "-c", strange, "--out", tmp_path / "m")
    assert not (tmp_path / "m").exists()


BLEND = """
[data]
path = "world:cold"
[use.knn]
use = "itemknn"
[use.llm]
use = "llmrank"
lm = "fake:overlap"
[retrieve]
use = "@knn"
[rank]
use = "blend"
ranker = "@llm"
source = "@knn"
"""


def test_a_budget_stops_a_fit_and_nothing_is_left(tmp_path):
    path = written(tmp_path, BLEND)
    assert "the budget of 3 calls" in fails("fit", "-c", path, "--out", tmp_path / "m", "--budget-calls", 3)
    assert "deadline" in fails("fit", "-c", path, "--out", tmp_path / "m", "--deadline", 0)
    assert not (tmp_path / "m").exists()
    made = call("fit", "-c", path, "--out", tmp_path / "m")
    assert "  weight of the ranker: 0\n" in made.stdout and "  validation users asked: " in made.stdout
    assert re.search(r"  NDCG@10 on validation by weight: 0: 0\.\d+, 0\.05: ", made.stdout) and "(" not in made.stdout
