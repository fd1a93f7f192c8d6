"""Labelled pairs from files: columns, histories, moments, and errors that name file, line and column."""

import json

import numpy as np
import pytest
from tests.core.makers import data_of

from hexarec.core import DataError
from hexarec.data.pairs import exposures_from

DATA = data_of([(0, 0, 1.0), (0, 1, 2e9), (1, 2, 3.0)])


def file(folder, text, name="pairs.csv"):
    place = folder / name
    place.write_text(text, "utf-8")
    return place


def past(made, i):
    return list(made.queries[i].items), list(made.queries[i].liked)


@pytest.mark.parametrize("cell", ['"[""i0"", ""i3""]"', "\"['i0', 'i3']\"", "i0 i3", "i0|i3", '"i0, i3"'])
def test_histories_of_any_spelling(tmp_path, cell):
    made = exposures_from(file(tmp_path, f"user,history,item,label\nu1,{cell},i2,1\nnew,,i4,0\n"), DATA)
    assert past(made, 0) == ([0, 3], [True, True]) and past(made, 1) == ([], [])
    assert made.shown.items.tolist() == [2, 4] and made.shown.fields["gain"].tolist() == [1.0, 0.0]
    assert made.queries.user_ids() == ["u1", "new"] and made.queries.user[0] == 1
    assert made.shown.lengths.tolist() == [1, 1] and made.source == "log"


def test_json_lines_and_labels_of_the_history(tmp_path):
    rows = [
        {
            "user": "u0",
            "history": ["i0", "i1", "i0", "i4"],
            "history_label": [1, 0, 0, 1],
            "item": "i2",
            "label": True,
            "time": 100,
        },
        {"user": "u0", "history": [], "history_label": [], "item": "i3", "label": 0, "time": 50},
    ]
    made = exposures_from(file(tmp_path, "\n".join(map(json.dumps, rows)), "pairs.jsonl"), DATA)
    assert past(made, 0) == ([0, 1, 0, 4], [True, False, False, True])
    assert made.queries.now.tolist() == [100.0, 50.0] and made.queries.history.time.tolist() == [96.0, 97.0, 98.0, 99.0]
    assert made.shown.fields["gain"].tolist() == [1.0, 0.0]


def test_without_a_history_the_log_before_the_moment_is_known(tmp_path):
    made = exposures_from(file(tmp_path, "user,item,label,time\nu0,i4,1,1500000000\nnew,i4,0,1500000000\n"), DATA)
    assert past(made, 0)[0] == [0] and past(made, 1)[0] == []


def test_other_names_and_unknown_labels(tmp_path):
    made = exposures_from(
        file(tmp_path, "who,what,y\nu0,i1,\nu0,i2,0.5\n"), DATA, mapping={"user": "who", "item": "what", "label": "y"}
    )
    gain = made.shown.fields["gain"]
    assert np.isnan(gain[0]) and gain[1] == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user,item,label\nu0,i1,1\nu0,i9,0\n", "pairs.csv:3:item: data lacks the item 'i9' (1 such)"),
        ("user,item,label\nu0,i1,yes\n", "pairs.csv:2:label: the label 'yes' is no number"),
        ("user,item,label\nu0,i1,inf\n", "pairs.csv:2:label: the label 'inf' is no number"),
        ("user,item,label\n,i1,1\n", "pairs.csv:2:user: missing user"),
        ("user,item\nu0,i1\n", "pairs.csv:1:label: no column looks like the label"),
        ("user,item,label\n", "pairs.csv: there are no pairs"),
        ("user,history,history_label,item,label\nu0,i1 i2,1,i3,1\n", "pairs.csv:2:history_label: 1 labels for 2 items"),
        ("user,history,item,label\nu0,i1 i7,i3,1\n", "pairs.csv:2:history: data lacks the item 'i7'"),
        ("user,item,label,time\nu0,i1,1,soon\n", "pairs.csv:2:time: time cannot be read"),
    ],
)
def test_errors_name_file_line_and_column(tmp_path, text, said):
    with pytest.raises(DataError) as caught:
        exposures_from(file(tmp_path, text), DATA)
    assert said in caught.value.message
    assert "mapping" not in caught.value.hint, "the command line has none for pairs"


def test_a_mapping_must_fit(tmp_path):
    place = file(tmp_path, "user,item,label\nu0,i1,1\n")
    with pytest.raises(DataError, match="there is no column 'x'"):
        exposures_from(place, DATA, mapping={"item": "x"})
    with pytest.raises(DataError, match="pairs have no 'value'"):
        exposures_from(place, DATA, mapping={"value": "label"})
    with pytest.raises(DataError, match="no such file"):
        exposures_from(tmp_path / "none.csv", DATA)
