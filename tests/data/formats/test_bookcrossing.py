from hexarec.core import KINDS
from hexarec.data.importer import import_data

from ..makers import write


def test_semicolons_quotes_latin_1_and_zero_ratings(tmp_path):
    write(tmp_path, "BX-Book-Ratings.csv", '"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n'
          '"276726";"0155061224";"8"\n'
          '"276727";"0155061224";"5"\n')  # fmt: skip
    write(tmp_path, "BX-Books.csv",
          '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S"\n'
          '"034545104X";"Flesh; \\"Tones\\" &amp; Ü";"M. Rosé";"2002";"Ballantine";"x"\n'
          '"0155061224";"Rites";"J";"0";"H";"x"\n', "latin-1")  # fmt: skip
    write(tmp_path, "BX-Users.csv", '"User-ID";"Location";"Age"\n"276725";"tyler, usa";NULL\n"276726";"x";"18"\n')
    made = import_data(tmp_path)
    data = made.dataset
    assert made.report.format == "book-crossing" and not data.interactions.clock
    assert data.catalog["034545104X"].title == 'Flesh; "Tones" &amp; Ü'
    assert data.catalog["034545104X"].attributes["year"] == 2002 and "year" not in data.catalog["0155061224"].attributes
    assert [KINDS[k] for k in data.interactions.kind] == ["view", "rate", "rate"]
    assert data.interactions.liked.tolist() == [False, True, False] and data.interactions.like_rule == "value >= 7"
    assert data.users.attributes["age"][1] == 18
