import gzip
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from hexarec.core import DataError, HexarecError, OptionError
from hexarec.data.importer import import_data
from hexarec.data.store import read_dataset

from .makers import lines, sequence, write

HEAD = "user,item,time,value\n"
GOOD = "a,x,1700000000,5\nb,y,1700000001,2\na,y,1700000002,3\n"
REAL = Path(os.environ.get("HEXAREC_DATA", Path(__file__).parents[2] / "../shared/data"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",x,1700000000,5", "missing user"),
        ("a,,1700000000,5", "missing item"),
        ("a,x,,5", "missing time"),
        ("a,x,yesterday,5", "time cannot be read"),
        ("a,x,nan,5", "time is not a finite number"),
        ("a,x,inf,5", "time is not a finite number"),
        ("a,x,-1,5", "time is negative"),
        pytest.param(f"a,x,{time.time() + 2 * 86400:.0f},5", "time lies in the future", id="future"),
        ("a,x,1700000000,NaN", "value is not a finite number"),
        ("a,x,1700000000,-inf", "value is not a finite number"),
        ("a,x,1700000000,five", "value is not a number"),
        ("a,x\0,1700000000,5", "item id contains a NUL character"),
        ("a" * 10_240 + ",x,1700000000,5", "user id is longer than 1024 bytes"),
        ("a,x,1700000000,5,6", "5 fields where 4 are expected"),
        ("a", "missing item"),
    ],
)
def test_a_wrong_row_is_refused_and_the_rest_taken(tmp_path, row, reason):
    made = import_data(write(tmp_path, "events.csv", HEAD + GOOD + row + "\n"), out=tmp_path / "out")
    assert made.report.rejected == {reason: 1} and made.report.rows == 4 and len(made.dataset.interactions) == 3
    told = json.loads((tmp_path / "out" / "rejects.jsonl").read_text())
    assert (told["file"], told["line"], told["reason"]) == ("events.csv", 5, reason) and len(told["value"] or "") <= 80


def test_emoji_chinese_and_arabic_pass(tmp_path):
    write(tmp_path, "events.csv", HEAD + "🧑‍🚀,片,1700000000,5\nنور,片,1700000001,1\n")
    write(tmp_path, "items.csv", "item,title\n片,流浪地球\nب,ليل\n")
    data = import_data(tmp_path, out=tmp_path / "out").dataset
    assert sequence(data, "🧑‍🚀") == ["片"] and data.catalog["ب"].title == "ليل" and data.catalog.lang == "zh"
    assert read_dataset(tmp_path / "out").key == data.key


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("events.csv", b"", "empty"),
        ("events.csv", b"   \n\n", "empty"),
        ("events.csv", HEAD.encode(), "only a header"),
        ("events.jsonl", b"", "empty"),
        ("events.jsonl", b"\n\nnot a record\n", "no record"),
        ("events.csv", bytes(range(256)) * 64, "binary"),
        ("events.parquet", b"PAR1 this is none", "not a readable Parquet"),
        ("events.csv.gz", gzip.compress((HEAD + GOOD * 900).encode())[:-40], "cut short"),
        ("events.csv.gz", b"\x1f\x8b" + b"\0" * 30, "damaged|cut short"),
        ("events.csv", b"user item time\na x 1700000000\n", "no column looks like"),
        ("events.tsv", (HEAD + GOOD).encode(), "no column looks like"),
        ("events.csv", b"user,item,time\n" + b"a,x,never\n" * 3, "no event can be used"),
        ("events.xlsx", b"PK\x03\x04" + b"\0" * 99, "no reader knows"),
        ("events.json", b'{"user": "a"', "no column|no record|not valid JSON"),
        ("events.json", b"[[1, 2], 3]", "no record"),
        ("ratings.csv", b"userId,movieId,rating,timestamp\n", "only a header"),
        ("u.data", b"1\t2\t3\n", "no reader knows|no column|needs"),
    ],
)
def test_a_file_nothing_can_be_had_from_is_one_data_error(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        import_data(path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", range(40))
def test_noise_gives_a_result_or_an_error_of_ours(tmp_path, seed):
    draw = np.random.default_rng(seed)
    text = (HEAD + GOOD * 3).encode()
    hurt = bytearray(text)
    for place in draw.integers(0, len(hurt), 1 + seed):
        hurt[place] = draw.integers(0, 256)
    name = ("events.csv", "events.tsv", "events.jsonl", "x.inter", "ratings.dat", "u.data")[seed % 6]
    (tmp_path / name).write_bytes(bytes(hurt[: draw.integers(1, len(hurt) + 1)]))
    for format in (
        None,
        "plain",
        "ml-100k",
        "ml-1m",
        "recbole",
        "amazon",
        "mind",
        "steam",
        "book-crossing",
        "ml-latest",
    ):
        try:
            import_data(tmp_path / name, format=format)
        except HexarecError:
            pass


def test_one_user_one_item_one_event(tmp_path):
    data = import_data(write(tmp_path, "e.csv", HEAD + "a,x,1700000000,5\n")).dataset
    assert (data.n_users, data.n_items, len(data.interactions)) == (1, 1, 1)


def test_a_user_with_a_million_events(tmp_path):
    body = "".join(f"one,i{n % 977},{1_600_000_000 + n},{1 + n % 5}\n" for n in range(1_000_000))
    path = write(tmp_path, "events.csv", HEAD + body)
    data = import_data(path).dataset
    assert len(data.interactions) == 1_000_000 and data.n_users == 1 and data.n_items == 977
    assert (np.diff(data.interactions.time) > 0).all()


def test_duplicate_item_ids_and_orphans(tmp_path):
    write(tmp_path, "events.csv", HEAD + GOOD)
    write(tmp_path, "items.csv", "item,title\nx,First\nx,Second\nx,First\n")
    made = import_data(tmp_path)
    assert made.dataset.catalog["x"].title == "First" and made.report.repeats == 1
    assert made.report.rejected == {"duplicate item id with other content; the first is kept": 1}
    assert made.report.orphans == 1 and made.dataset.catalog["y"].title == "" and len(made.dataset.interactions) == 3


def test_strict_refuses_orphans(tmp_path):
    write(tmp_path, "events.csv", HEAD + GOOD)
    write(tmp_path, "items.csv", "item,title\nx,First\n")
    made = import_data(tmp_path, strict=True)
    assert made.report.rejected == {"item is not in the item table": 2} and made.dataset.n_items == 1


def test_like_rules(tmp_path):
    path = write(tmp_path, "events.csv", HEAD + GOOD)
    assert import_data(path, like="<= 2").dataset.interactions.liked.sum() == 1
    assert import_data(path, like="<= 2").dataset.interactions.like_rule == "value <= 2"
    assert import_data(path, like="every event").dataset.interactions.liked.all()
    with pytest.raises(OptionError, match="like rule"):
        import_data(path, like="maybe")


def test_rows_of_the_table_come_first_and_ids_stay_strings(tmp_path):
    write(tmp_path, "events.csv", HEAD + "007,9,1700000000,5\n7,9,1700000001,5\n")
    write(tmp_path, "items.jsonl", lines([{"item": 8, "title": "Eight"}, {"item": 9, "title": "Nine"}]))
    data = import_data(tmp_path).dataset
    assert data.catalog.items.ids.tolist() == ["8", "9"] and data.users.ids.ids.tolist() == ["007", "7"]


def test_formats_and_paths_that_do_not_exist(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        import_data(tmp_path / "gone")
    with pytest.raises(DataError, match="no such file"):
        import_data(write(tmp_path, "e.csv", HEAD + GOOD), items=tmp_path / "gone.csv")
    with pytest.raises(DataError, match="unknown format"):
        import_data(tmp_path / "e.csv", format="csvv")
    with pytest.raises(DataError, match="u.data"):
        import_data(tmp_path, format="ml-100k")


def real(folder):
    if not (REAL / folder).exists():
        pytest.skip(f"the real data folder {folder!r} is not there (set HEXAREC_DATA)")
    return REAL / folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "sizes", "clock", "rule"),
    [
        ("ml100k", (943, 1682, 100_000), True, "value >= 4"),
        ("ml_latest_small", (671, 9125, 101_300), True, "value >= 4"),
        ("ml1m_seq", (6040, 3883, 999_611), False, "every event"),
        ("llmrank/Games-6k", (50_546, 16_859, 440_264), False, "every event"),
        ("ml100k_freebase_kg", (943, 1682, 100_000), True, "value >= 4"),
        ("rechorus_grocery/train.csv", (14_681, 8687, 121_892), True, "every event"),
    ],
)
def test_real_folders(folder, sizes, clock, rule):
    made = import_data(real(folder))
    data = made.dataset
    assert (data.n_users, data.n_items, len(data.interactions)) == sizes and not made.report.rejected
    assert data.interactions.clock == clock and data.interactions.like_rule == rule


@pytest.mark.slow
def test_real_order_is_the_published_one():
    data = import_data(real("ml1m_seq")).dataset
    assert sequence(data, "1")[:2] == ["3186", "1022"] and data.catalog["1"].title == "Toy Story (1995)"
    assert set(data.users.attributes) >= {"gender", "age", "occupation"}


def test_chinese_text_of_another_encoding_is_read_when_it_is_said(tmp_path):
    text = "user,item,title,rating,timestamp\n" + "".join(
        f"u{n},i{n % 3},花样年华 {n % 3},5,{1_600_000_000 + n}\n" for n in range(6)
    )
    place = tmp_path / "films.csv"
    place.write_bytes(text.encode("gbk"))
    with pytest.raises(DataError, match="films.csv:2: the text is not UTF-8: byte 0x") as caught:
        import_data(place)
    assert "encoding='gbk'" in caught.value.hint
    made = import_data(place, encoding="gbk")
    assert made.dataset.catalog.titles[0] == "花样年华 0" and made.report.encodings == {"films.csv": "gbk"}


def test_mixed_time_units_and_nul_characters_are_reported(tmp_path):
    rows = [f"u{n},i{n % 3},5,{1_600_000_000 + n}" for n in range(6)] + ["u9,i1,5,1600000000000"]
    (tmp_path / "ratings.csv").write_text("user,item,rating,timestamp\n" + "\n".join(rows) + "\n")
    (tmp_path / "items.csv").write_text("item,title\ni0,Al\0ien\ni1,Heat\ni2,M\n")
    report = import_data(tmp_path).report
    assert report.rejected == {"time is in milliseconds, the column in seconds": 1} and report.accepted == 6
    assert any("time units are mixed" in note for note in report.notes)
    assert any("1 values of 'title' held NUL characters" in note for note in report.notes)
    assert import_data(tmp_path).dataset.catalog.titles[0] == "Alien"
