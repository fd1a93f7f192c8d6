import pytest

from hexarec.core import DataError
from hexarec.data.formats import detect, source_named, sources

from ..makers import write


def test_names_are_unique_and_a_wrong_one_gets_a_suggestion():
    names = [source.name for source in sources()]
    assert len(names) == len(set(names)) and names[-1] == "plain"
    with pytest.raises(DataError, match="did you mean 'recbole'"):
        source_named("recbol")


def test_nothing_known_and_nothing_there(tmp_path):
    write(tmp_path, "picture.png", "x")
    with pytest.raises(DataError, match="no reader knows"):
        detect(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        detect(tmp_path / "gone")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["steam.zip", "README.md"], "unpack steam.zip and give its folder"),
        (["a.csv", "b.csv"], "it holds a.csv, b.csv: give the file with the events"),
        ([f"{n}.tsv" for n in range(9)], "3.tsv, 4.tsv, 5.tsv and 3 more"),
        (["notes.md"], "with a mapping such as"),
    ],
)
def test_what_may_help_is_said(tmp_path, names, said):
    for n, name in enumerate(names):
        write(tmp_path / "d", name, f"x{n},y\n1,2\n")
    with pytest.raises(DataError, match="no reader knows") as caught:
        detect(tmp_path / "d")
    assert said in caught.value.hint


def test_a_folder_inside_is_suggested(tmp_path):
    write(tmp_path / "ml" / "part", "u.data", "1\t10\t5\t881250949\n")
    with pytest.raises(DataError, match="did you mean ml/part"):
        detect(tmp_path / "ml")
