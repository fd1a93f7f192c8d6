import pytest
from tests.cli.calls import fails


@pytest.mark.parametrize("kind", ["file", "other"])
def test_what_is_in_the_way_is_said_before_the_work(tmp_path, kind):
    out = tmp_path / "demo"
    if kind == "file":
        out.write_text("x")
    else:
        (out / "pipeline").mkdir(parents=True)
        (out / "pipeline" / "thesis.txt").write_text("x")
    said = fails("demo", "--out", out, "--lm", "fake:overlap", "--encoder", "tfidf", "--users", 4)
    assert str(out) in said and ("is a file" in said if kind == "file" else "would destroy it" in said)
    assert not (tmp_path / "demo" / "run").exists()
