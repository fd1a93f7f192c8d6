import pytest

from hexarec.core import DataError
from hexarec.data.importer import import_data

from ..makers import sequence, write


def test_atomic_files(tmp_path):
    write(
        tmp_path,
        "x.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t7\t5\t881250949\n1\t8\t2\t881250950\n1\t9\t3\t9\n",
    )
    write(
        tmp_path,
        "x.item",
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        '7\tToy Story\t1995\tAnimation Comedy\n8\tB "\tunknown\t\n9\tC\t1990\tDrama\n',
    )
    write(tmp_path, "x.user", "user_id:token\tage:token\tgender:token\n1\t24\tM\n")
    data = import_data(tmp_path).dataset
    assert sequence(data, "1") == ["9", "7", "8"] and data.users.attributes["age"].tolist() == [24.0]
    assert data.catalog["7"].title == "Toy Story" and data.catalog["7"].attributes["genres"] == ("Animation", "Comedy")
    assert data.catalog["8"].title == 'B "' and data.interactions.like_rule == "value >= 4"


def test_item_lists_become_sequences_without_a_clock(tmp_path):
    head = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
    write(tmp_path, "g.valid.inter", head + "0\ta b\tc\n1\tx\ty\n")
    write(tmp_path, "g.test.inter", head + "0\ta b c\td\n")
    write(tmp_path, "g.item", "item_id:token\ttitle:token_seq\na\tAll in one\n")
    made = import_data(tmp_path)
    assert sequence(made.dataset, "0") == ["a", "b", "c", "d"] and sequence(made.dataset, "1") == ["x", "y"]
    assert not made.dataset.interactions.clock and made.report.time_unit == "order"
    assert made.dataset.catalog["a"].title == "All in one" and made.report.orphans == 5


def test_a_single_file_and_a_missing_column(tmp_path):
    path = write(tmp_path, "y.inter", "user_id:token\titem_id:token\nu\ti\nu\tj\n")
    assert sequence(import_data(path).dataset, "u") == ["i", "j"]
    with pytest.raises(DataError, match="no column item_id"):
        import_data(write(tmp_path / "z", "z.inter", "user_id:token\tlabel:float\nu\t1\n"))
