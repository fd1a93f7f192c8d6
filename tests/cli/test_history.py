import math

import pytest

from hexarec.cli.history import Grounder, Named, grounded, read_history
from hexarec.core import Catalog, DataError, Item

CATALOG = Catalog.of(
    [
        Item("a1", "Alien (1979)", titles={"zh": "异形"}),
        Item("a3", "Alien 3 (1992)"),
        Item("s1", "Solaris (1972)", titles={"zh": "飞向太空"}),
        Item("s2", "Solaris (2002)"),
        Item("m", "The Matrix"),
    ]
)


@pytest.mark.parametrize(
    ("words", "item"),
    [("a3", "a3"), ("Alien (1979)", "a1"), ("alien", "a1"), ("Matrix, The", "m"), ("异形", "a1"), ("the matrx", "m")],
)
def test_ids_and_titles_of_any_language_are_found(words, item):
    assert Grounder(CATALOG).find(words)[0] == item


def test_a_guess_is_said_and_twins_are_named():
    finder = Grounder(CATALOG)
    assert finder.find("the matrx")[1] == "read 'the matrx' as 'The Matrix'"
    item, note = finder.find("solaris")
    assert item == "s1" and "names 2 items (s1, s2)" in note and "give an id" in note
    assert finder.find("Solaris (2002)") == ("s2", "")
    same = Grounder(Catalog.of([Item("a", "Twin"), Item("b", "Twin"), Item("c", "Twin!"), Item("d", "One")]))
    assert same.find("Twin") == ("a", "'Twin' names 2 items (a, b); took 'Twin': give an id to be exact")
    assert same.find("Twin!") == ("c", "") and same.find("One") == ("d", "") and same.find("b") == ("b", "")


def test_a_long_entry_is_said_in_short():
    assert len(Grounder(CATALOG).find("x" * 20_000)[1]) < 300


def test_a_title_inside_a_longer_one_is_only_near():
    item, note = Grounder(CATALOG).find("Alien Resurrection")
    assert item is None and note == "'Alien Resurrection' is not in the catalog; near: 'Alien (1979)'"
    assert Grounder(CATALOG).find("zzzz qqqq")[1] == "'zzzz qqqq' is not in the catalog"


def test_what_is_gone_from_the_catalog_is_not_found_by_its_title():
    assert Grounder(CATALOG.remove(["m"])).find("The Matrix")[0] is None


def test_unknown_titles_are_noted_and_all_unknown_is_an_error():
    events, notes = grounded(CATALOG, [Named("alien"), Named("nothing like it"), Named("m", "rate", 2.0)])
    assert [(e.item, e.time, e.kind) for e in events] == [("a1", 0.0, "like"), ("m", 2.0, "rate")]
    assert len(notes) == 1
    with pytest.raises(DataError, match="'zz' is not in the catalog"):
        grounded(CATALOG, [Named("zz")])
    assert grounded(CATALOG, []) == ([], [])


def history(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return read_history(path)


def test_three_kinds_of_files(tmp_path):
    assert [one.words for one in history(tmp_path, "h.txt", "Alien\n\n 异形 \n")] == ["Alien", "异形"]
    rows = history(tmp_path, "h.csv", 'Title,Rating,Timestamp\n"Matrix, The",5,20\nAlien,1,10\n')
    assert [(r.words, r.value, r.kind) for r in rows] == [("Alien", 1.0, "rate"), ("Matrix, The", 5.0, "rate")]
    rows = history(tmp_path, "h.csv", "title,timestamp\nMatrix,20\nAlien,\nSolaris,5\n")
    assert [(r.words, r.time) for r in rows] == [("Matrix", None), ("Alien", None), ("Solaris", None)]
    rows = history(tmp_path, "h.jsonl", '"Alien"\n{"item_id": "m", "event": "purchase"}\n')
    assert [(r.words, r.kind) for r in rows] == [("Alien", "like"), ("m", "purchase")] and math.isnan(rows[0].value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("h.txt", "\n", "the history is empty"),
        ("h.pdf", "x", "cannot read a history from .pdf"),
        ("h.csv", "film\nAlien\n", "h.csv:1: no column item or title"),
        ("h.csv", "title,value\nAlien,good\n", "h.csv:2:value: 'good' is not a finite number"),
        ("h.csv", "title,time\nAlien,2024-01-01\n", "seconds since 1970"),
        ("h.csv", "title,kind\nAlien,loved\n", "h.csv:2:kind: unknown kind 'loved'"),
        ("h.csv", "title,kind\n,like\n", "h.csv:2: no item and no title"),
        ("h.jsonl", '"Alien"\n{"title"\n', "h.jsonl:2: not JSON"),
        ("h.jsonl", "[1]\n", "h.jsonl:1: neither a string nor an object"),
    ],
)
def test_wrong_files_are_named_with_line_and_field(tmp_path, name, text, said):
    with pytest.raises(DataError) as caught:
        history(tmp_path, name, text)
    assert said in str(caught.value)


def test_a_file_that_is_missing_or_not_text(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_history(tmp_path / "h.txt")
    (tmp_path / "h.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match="not UTF-8"):
        read_history(tmp_path / "h.txt")
