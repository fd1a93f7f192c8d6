import json

import pytest
from tests.cli.calls import answer, call, fails

from hexarec.cli.data import mapping_of
from hexarec.core import OptionError
from hexarec.data.store import read_dataset

CSV = "uid,sku,stars,ts\n" + "".join(f"u{n % 7},i{n % 5},{1 + n % 5},{1_700_000_000 + n * 3600}\n" for n in range(60))


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text(CSV + "u1,i1,not a number,1700000000\n")
    return path


MAP = "user=uid,item=sku,time=ts,value=stars"


def test_import_stores_and_tells_what_it_refused(raw, tmp_path):
    made = call("data", "import", raw, "--map", MAP, "--out", tmp_path / "shop", "--name", "shop")
    assert "shop\n" in made.stdout and "60 of 61 events taken in" in made.stdout
    assert "events.csv:62: value: value is not a number" in made.stderr and "next: hexarec data check" in made.stderr
    assert len(read_dataset(tmp_path / "shop").interactions) == 60


def test_without_out_nothing_is_stored(raw, tmp_path):
    before = sorted(tmp_path.iterdir())
    told = answer("data", "import", raw, "--map", MAP, "--like", ">=3")
    assert told["accepted"] == 60 and told["like_rule"] == "value >= 3" and told["out"] is None
    assert sorted(tmp_path.iterdir()) == before
    said = call("data", "import", raw, "--map", MAP, "--like", ">=3", "--strict").stderr
    assert f"next: hexarec data import {raw} --map {MAP} --like '>=3' --strict --out FOLDER" in said


def test_wrong_imports_name_file_and_mend(raw, tmp_path):
    assert "did you mean 'sku'" in fails("data", "import", raw, "--map", "item=skuu")
    assert "cannot read 'user'" in fails("data", "import", raw, "--map", "user")
    assert "no such file" in fails("data", "import", tmp_path / "nothing.csv")
    assert "did you mean" in fails("data", "import", raw, "--format", "plainn")
    assert mapping_of("a=b, c = d,") == {"a": "b", "c": "d"} and mapping_of(None) == {}
    with pytest.raises(OptionError):
        mapping_of("=x")


def test_check_reads_stored_raw_and_named_data(raw, tmp_path):
    folder = tmp_path / "shop"
    call("data", "import", raw, "--map", MAP, "--out", folder)
    stored, fresh = ({f["name"]: f for f in answer("data", "check", source)["findings"]} for source in (folder, raw))
    assert stored["refused rows"]["level"] == fresh["refused rows"]["level"] == "warn"
    made = call("data", "check", folder, "--html", tmp_path / "h.html")
    assert "refused rows" in made.stdout and "data:image/svg" in (tmp_path / "h.html").read_text()
    assert "world:order" in call("data", "check", "world:order").stdout
    assert "did you mean 'order'" in fails("data", "check", "world:ordr")


def test_check_can_be_a_gate():
    assert answer("data", "check", "world:order")["level"] == "bad"
    call("data", "check", "world:order", "--strict", code=1)


def test_describe_is_a_few_lines():
    assert "60 users, 60 items, 360 events" in call("data", "describe", "world:cold").stdout


@pytest.mark.parametrize("by", ["global", "last", "cold-items", "cold-users", "system-cold"])
def test_split_writes_train_truth_and_summary(by, tmp_path):
    out = tmp_path / "split"
    told = answer("data", "split", "world:drift", "--by", by, "--out", out)
    train = read_dataset(out / "train")
    assert len(train.interactions) == told["train"] == json.loads((out / "split.json").read_text())["train"]
    rows = [json.loads(line) for line in (out / "test.jsonl").read_text().splitlines()]
    assert len(rows) == told["test"] and all(row["truth"] for row in rows)
    assert all(item in train.catalog.items for row in rows for item in row["history"] + row["truth"])
    assert (out / "valid.jsonl").exists() == ("valid" in told)
    # again: the old split is replaced in one move, nothing is left beside it
    call("data", "split", "world:drift", "--by", "last", "--out", out)
    assert json.loads((out / "split.json").read_text())["by"] == "last"
    assert [path.name for path in tmp_path.iterdir()] == ["split"]


def test_a_split_does_not_overwrite_what_is_none(tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    assert "is no split" in fails("data", "split", "world:drift", "--out", tmp_path)
    assert "unknown split 'never'" in fails("data", "split", "world:drift", "--by", "never")
    assert "leave last: each user's last event" in call("data", "split", "world:drift", "--by", "last").stdout
