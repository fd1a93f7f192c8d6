import pytest

from hexarec.core import DataError
from hexarec.data.records import first_record, frame_of, parsed, phrases, records, words

from .makers import write


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ("{u'a': True, 'b': None}", {"a": True, "b": None}),
        ("[1, 2]", None),
        ("{'a': open('x')}", None),
        ("{", None),
        ("(" * 5000, None),
        ("{'a': \0}", None),
    ],
)
def test_a_line_is_json_or_a_python_literal_or_nothing(line, expected):
    assert parsed(line) == expected


def test_records_number_their_lines_and_refuse_others(tmp_path):
    refused = []
    found = list(records(write(tmp_path, "a.jsonl", '{"a": 1}\n\nno\n{"a": 2}\n'), refused))
    assert found == [(1, {"a": 1}), (4, {"a": 2})] and [(r.line, r.value) for r in refused] == [(3, "no")]


def test_an_array_is_read_and_a_broken_one_named(tmp_path):
    refused = []
    assert list(records(write(tmp_path, "a.json", '[{"a": 1},\n 3]'), refused)) == [(1, {"a": 1})] and len(refused) == 1
    with pytest.raises(DataError, match="not valid JSON"):
        list(records(write(tmp_path, "b.json", '[{"a": 1},'), []))
    assert first_record(tmp_path / "a.json") == {"a": 1} and first_record(tmp_path / "gone.json") == {}
    pretty = write(tmp_path, "p.json", '[\n {\n  "a": 1\n },\n {"a": 2}\n]')
    assert first_record(pretty) == {"a": 1} and [row for _, row in records(pretty, [])] == [{"a": 1}, {"a": 2}]
    for text in ("[3]", "[" * 20_000, "[{", ""):
        assert first_record(write(tmp_path, "c.json", text)) == {}


def test_values_become_text_that_can_be_stored():
    assert [words(v) for v in (None, True, 2.0, "x\ud800", ["a", None, "b"], {"k": 1})] == [
        None, "true", "2.0", "x?", "a\nb", '{"k": 1}',
    ]  # fmt: skip
    assert phrases([["a", "b"], ["b", None]]) == ["a", "b"] and phrases(None) is None and phrases(3) == ["3"]


def test_a_frame_of_records_with_mixed_types():
    frame = frame_of([{"a": 1, "b": ["x"]}, {"a": "z", "c": True}], [1, 2], "f")
    assert frame["a"].to_list() == ["1", "z"] and frame["b"].to_list() == [["x"], None]
    assert frame["c"].to_list() == [None, True] and frame["_line"].to_list() == [1, 2]


def test_a_file_without_records_is_given_up_early(tmp_path):
    with pytest.raises(DataError, match="none of the first 100 lines"):
        list(records(write(tmp_path, "p.json", "{\n" + '"a": [\n' * 200), []))
