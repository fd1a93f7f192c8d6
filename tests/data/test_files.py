import gzip

import pytest

from hexarec.core import DataError, OptionError
from hexarec.data.files import delimited, delimiter_of, head, inside, reading, separated, suffix, text_lines, text_of

from .makers import write


def test_clean_tables_and_the_line_of_every_row(tmp_path):
    table = delimited(write(tmp_path, "a.csv", 'x,y\n1,"two\nlines"\n\n3,4\n'), ",")
    assert table.frame.rows() == [("1", "two\nlines"), ("3", "4")] and table.lines.to_list() == [2, 5]


def test_rows_that_are_too_long_are_refused_by_line_and_short_ones_padded(tmp_path):
    table = delimited(write(tmp_path, "a.csv", 'x,y\n1,2\n1,2,3\n5\n6,"7\n7"\n8,9\n'), ",")
    assert table.frame.rows() == [("1", "2"), ("5", None), ("6", "7\n7"), ("8", "9")]
    assert table.lines.to_list() == [2, 4, 5, 7]
    assert [(r.line, r.reason) for r in table.rejects] == [(3, "3 fields where 2 are expected")]


def test_stray_quotes_go_through_the_tolerant_reader(tmp_path):
    table = delimited(write(tmp_path, "a.csv", 'x,y\n1,a"b\n2,"c""d"\n'), ",")
    assert table.frame["y"].to_list() == ['a"b', 'c"d']


def test_a_quote_that_is_never_closed_is_an_error_with_its_line(tmp_path):
    with pytest.raises(DataError, match="never closed") as caught:
        delimited(write(tmp_path, "a.csv", 'x,y,z\n1,"2,3\n' + "4,5,6\n" * 100), ",")
    assert caught.value.line == 2


def test_rows_between_two_stray_quotes_are_refused_line_by_line(tmp_path):
    rows = ["u,i,t"] + [f"{n},{n},{n}" for n in range(20)]
    rows[3], rows[8] = '"' + rows[3], rows[8].replace(",", ',"', 1) + '"'
    table = delimited(write(tmp_path, "a.csv", "\n".join(rows) + "\n"), ",")
    lost = 20 - len(table.frame)
    assert lost and len(table.rejects) >= lost and all("stray" in r.reason for r in table.rejects)


def test_encodings(tmp_path):
    for code, said in (("utf-8-sig", "utf-8"), ("utf-16", "utf-16")):
        assert text_of(write(tmp_path, f"{code}.csv", "naïve\n", code)) == ("naïve\n", said)
    old = write(tmp_path, "old.csv", "naïve\n", "latin-1")
    with reading(fallback="latin-1"):
        assert text_of(old) == ("naïve\n", "latin-1")
        with reading("cp1252"):
            assert text_of(old) == ("naïve\n", "cp1252")
    marked = write(tmp_path, "marked.csv", "naïve\n", "utf-8-sig")
    with reading("utf-8"):
        assert text_of(marked) == ("naïve\n", "utf-8")


@pytest.mark.parametrize(("code", "likely"), [("gbk", "gbk"), ("latin-1", "latin-1")])
def test_other_bytes_are_an_error_with_place_and_mend(tmp_path, code, likely):
    text = "u,i\nab,c\n" + ("电影,花样年华\n" if code == "gbk" else "naïve,é\n")
    place = write(tmp_path, "odd.csv", text, code)
    with pytest.raises(DataError) as caught:
        text_of(place)
    first = next(at for at, byte in enumerate(place.read_bytes()) if byte > 127)
    assert f"odd.csv:3: the text is not UTF-8: byte 0x{place.read_bytes()[first]:02x} at offset {first}" in str(
        caught.value
    )
    assert f"encoding={likely!r}" in caught.value.hint
    with reading(likely):
        assert text_of(place) == (text, likely)
        assert head(place).lines[2] == text.splitlines()[2]
    with reading("ascii"), pytest.raises(DataError, match="the text is not ascii: byte"):
        text_of(place)
    with pytest.raises(OptionError, match="no text encoding 'klingon'"), reading("klingon"):
        pass


@pytest.mark.parametrize("text", ["u,i,u\n1,2,3\n", '"u",i,u \n1,2,3\n', "\nu,i,u\n1,2\n"])
def test_a_header_that_repeats_a_name_is_one_error(tmp_path, text):
    with pytest.raises(DataError, match="the column 'u' occurs 2 times") as caught:
        delimited(write(tmp_path, "a.csv", text), ",")
    assert caught.value.line == 1 and caught.value.field == "u" and "rename" in caught.value.hint


def test_names_left_empty_may_repeat(tmp_path):
    assert len(delimited(write(tmp_path, "a.csv", "u,,\n1,2,3\n"), ",").frame) == 1


def test_lines_may_end_as_on_old_macs(tmp_path):
    made = delimited(write(tmp_path, "a.csv", "a,b\r1,2\r3,4\r"), ",")
    assert made.frame.rows() == [("1", "2"), ("3", "4")] and made.lines.to_list() == [2, 3]


def test_cut_and_damaged_archives(tmp_path):
    whole = gzip.compress(b"x,y\n" + b"1,2\n" * 5000)
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "odd.csv.gz").write_bytes(whole[:10] + b"\xff" * 40)
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + b"\0" * 100)
    for name, said in (("cut.csv.gz", "cut short"), ("odd.csv.gz", "cut short or damaged"), ("a.zip", "zip archive")):
        with pytest.raises(DataError, match=said):
            text_of(tmp_path / name)
    assert head(tmp_path / "cut.csv.gz").lines == () or head(tmp_path / "cut.csv.gz").first == "x,y"


def test_empty_binary_and_missing(tmp_path):
    (tmp_path / "b.csv").write_bytes(bytes(range(32)) * 200)
    for name, said in (("b.csv", "binary"), ("gone.csv", "cannot be read")):
        with pytest.raises(DataError, match=said):
            text_of(tmp_path / name)
    with pytest.raises(DataError, match="empty"):
        text_of(write(tmp_path, "e.csv", "  \n"))
    assert head(tmp_path / "b.csv").first == "" and head(tmp_path / "gone.csv").lines == ()


def test_separated_fields_keep_their_line(tmp_path):
    table = separated(write(tmp_path, "r.dat", "1::2\r\n\n3\n4::5\n"), "::", ("a", "b"))
    assert table.frame.rows() == [("1", "2"), ("4", "5")] and table.lines.to_list() == [1, 4]
    assert [r.line for r in table.rejects] == [3]


def test_small_helpers(tmp_path):
    assert [delimiter_of(line) for line in ("a,b", "a\tb,c\td", "a;b", "a|b", "ab")] == [",", "\t", ";", "|", ","]
    assert suffix(write(tmp_path, "X.CSV.gz", "a")) == "csv"
    write(tmp_path, ".hidden", "a")
    assert [p.name for p in inside(tmp_path)] == ["X.CSV.gz"]
    assert list(text_lines(write(tmp_path, "t.txt", "a\n\nb"))) == [(1, "a"), (3, "b")]
