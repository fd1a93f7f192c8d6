import numpy as np
import pytest

from hexarec.core import DataError
from hexarec.data.importer import import_data

from ..makers import sequence, texts, write

FLAGS = "0|1|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0"


def hundred(folder):
    write(folder, "u.data", "1\t10\t5\t881250949\n2\t10\t3\t891717742\n1\t11\t1\t878887116\n")
    films = f"10|Café Löwe (1995)|01-Jan-1995||http://x|{FLAGS}\n11|Nameless||||{FLAGS.replace('1', '0')}\n"
    write(folder, "u.item", films, "latin-1")
    write(folder, "u.user", "1|24|M|technician|85711\n2|53|F|other|01040\n")
    return folder


def test_100k_folder_with_latin_1_titles_genres_and_people(tmp_path):
    made = import_data(hundred(tmp_path / "ml"))
    data = made.dataset
    assert made.report.format == "ml-100k" and made.report.encodings["u.item"] == "latin-1"
    assert any("not UTF-8" in note for note in made.report.notes)
    item = data.catalog["10"]
    assert item.title == "Café Löwe (1995)" and item.attributes["genres"] == ("Action", "Comedy")
    assert item.attributes["year"] == 1995 and "genres" not in data.catalog["11"].attributes
    assert sequence(data, "1") == ["11", "10"]
    assert data.users.attributes["age"].tolist() == [24.0, 53.0]
    assert data.users.attributes["zip_code"].tolist() == ["85711", "01040"]  # codes keep their zeros
    assert data.interactions.like_rule == "value >= 4"
    assert data.interactions.liked.tolist() == [False, True, False]


def test_100k_single_file(tmp_path):
    data = import_data(hundred(tmp_path / "ml") / "u.data").dataset
    assert len(data.interactions) == 3 and data.catalog["10"].title == ""


def test_1m_double_colons(tmp_path):
    write(tmp_path, "ratings.dat", "1::10::5::978300760\n1::11::3::978302109\n2::10::4::978301968\nbroken::line\n")
    write(tmp_path, "movies.dat", "10::Toys (1995)::Animation|Children's\n11::A: B (1994)::Drama\n", "latin-1")
    write(tmp_path, "users.dat", "1::F::1::10::48067\n2::M::56::16::70072\n")
    made = import_data(tmp_path)
    data = made.dataset
    assert made.report.format == "ml-1m"
    assert made.report.rejected == {"2 fields where 4 are expected": 1}
    assert made.report.rejects.row(0)[:2] == ("ratings.dat", 4)
    assert data.catalog["10"].attributes["genres"] == ("Animation", "Children's")
    assert data.users.attributes["occupation"].tolist() == ["K-12 student", "self-employed"]


def test_latest_with_tags_links_and_no_genre(tmp_path):
    write(
        tmp_path,
        "ratings.csv",
        "userId,movieId,rating,timestamp\n1,10,4.5,1260759144\n1,11,0.5,1260759179\n2,11,4.0,5\n",
    )
    films = 'movieId,title,genres\n10,"American President, The (1995)",Comedy|Drama\n11,X (1990),(no genres listed)\n'
    write(tmp_path, "movies.csv", films)
    write(tmp_path, "tags.csv", "userId,movieId,tag,timestamp\n1,10,quiet 'gem',1260759999\n")
    write(tmp_path, "links.csv", "movieId,imdbId,tmdbId\n10,0112346,9087\n11,,\n")
    data = import_data(tmp_path).dataset
    assert data.catalog["10"].title == "American President, The (1995)"
    assert data.catalog["10"].attributes["imdb"] == "tt0112346"
    assert "genres" not in data.catalog["11"].attributes and "imdb" not in data.catalog["11"].attributes
    assert texts(data) == ["quiet 'gem'"] and len(data.interactions) == 4
    tag = data.interactions.kind == 9
    assert not data.interactions.liked[tag].any() and np.isnan(data.interactions.value[tag]).all()


def test_a_mapping_has_no_meaning_here(tmp_path):
    with pytest.raises(DataError, match="fixed columns"):
        import_data(hundred(tmp_path / "ml"), mapping={"user": "x"})


def test_missing_column_in_the_film_table(tmp_path):
    write(tmp_path, "ratings.csv", "userId,movieId,rating,timestamp\n1,10,4.5,1260759144\n")
    write(tmp_path, "movies.csv", "movieId,name\n10,X\n")
    with pytest.raises(DataError, match="no column 'title'"):
        import_data(tmp_path)
