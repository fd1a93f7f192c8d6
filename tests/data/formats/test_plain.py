import polars as pl
import pytest

from hexarec.core import KINDS, DataError
from hexarec.data.importer import import_data

from ..makers import lines, sequence, texts, write

CSV = "uid,sku,ts,stars\na,x,1700000000,5\na,y,1700000001,3\nb,x,1700000002,1\n"


def test_csv_with_guessed_names_and_an_item_file(tmp_path):
    path = write(tmp_path, "events.csv", CSV)
    words = [{"id": "x", "name": "Ex", "name_zh": "no", "title_zh": "某物", "tags": ["a", "b"], "price": 3},
             {"id": "y", "name": "Why", "title_zh": None, "tags": [], "price": None}]  # fmt: skip
    items = write(tmp_path / "more", "goods.jsonl", lines(words))
    made = import_data(path, items=items)
    assert made.report.guesses | {"user": "uid", "item": "sku", "time": "ts", "value": "stars"} == made.report.guesses
    catalog = made.dataset.catalog
    assert catalog["x"].titles == {"zh": "某物"} and catalog["x"].attributes["tags"] == ("a", "b")
    assert catalog["x"].attributes["price"] == 3.0 and "price" not in catalog["y"].attributes
    assert made.dataset.interactions.like_rule == "value >= 4" and catalog.lang == "en"


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "jsonl", "jsonl.gz", "parquet", "json", "semicolon.csv"])
def test_every_container_gives_the_same_log(tmp_path, kind):
    frame = pl.read_csv(write(tmp_path, "raw.csv", CSV))
    path = tmp_path / f"events.{kind}"
    if kind == "parquet":
        frame.write_parquet(path)
    elif kind == "json":
        path.write_text("[" + ",\n".join(lines(frame.to_dicts()).splitlines()) + "]")
    elif "jsonl" in kind:
        write(tmp_path, path.name, lines(frame.to_dicts()))
    else:
        write(tmp_path, path.name, CSV.replace(",", {"tsv": "\t", "semicolon.csv": ";"}.get(kind, ",")))
    mapping = {"user": "uid", "item": "sku", "time": "ts", "value": "stars"}
    data = import_data(path, mapping=mapping).dataset
    assert sequence(data, "a") == ["x", "y"] and data.interactions.value.tolist() == [5, 3, 1]
    assert data.interactions.time.tolist() == [1700000000, 1700000001, 1700000002]


def test_folder_with_order_only_events_and_movielens_tables(tmp_path):
    write(tmp_path, "interactions.csv.gz", "user_id,item_id,order,split\n1,10,0,train\n1,11,1,train\n2,11,0,test\n")
    write(tmp_path, "movies.dat", "10::Toys (1995)::Animation|Drama\n11::Ü (1990)::Drama\n", "latin-1")
    write(tmp_path, "users.dat", "1::F::1::10::48067\n2::M::56::16::70072\n")
    write(tmp_path, "README.txt", "hello, there\n")
    made = import_data(tmp_path)
    data = made.dataset
    assert not data.interactions.clock and sequence(data, "1") == ["10", "11"]
    assert data.catalog["11"].title == "Ü (1990)" and data.catalog["11"].attributes["year"] == 1990
    assert data.users.attributes["gender"].tolist() == ["F", "M"]


def test_titles_inside_the_log_and_event_kinds(tmp_path):
    rows = (
        "customer,product,date,event,name,comment\n"
        'c,p,2024-01-02T03:04:05Z,Purchase,"A ""lamp""\nof brass",nice\n'
        "c,q,2024-01-02 03:05,add_to_cart,B,\n"
        "c,r,2024-01-03,zap,C,\n"
    )
    made = import_data(write(tmp_path, "orders.csv", rows))
    data = made.dataset
    assert data.catalog["p"].title == 'A "lamp"\nof brass' and texts(data) == ["nice"]
    assert [KINDS[k] for k in data.interactions.kind] == ["purchase", "click", "click"]
    assert any("'zap'" in note for note in made.report.notes)


def test_an_explicit_mapping_names_words_of_the_item_table(tmp_path):
    write(tmp_path, "events.csv", "u,i,t\na,x,1700000000\n")
    write(tmp_path, "items.csv", "sku,label,blurb,since\nx,Name,Words,2023-01-01\n")
    mapping = {"user": "u", "item": "i", "time": "t", "title": "label", "text": "blurb"}
    item_table = import_data(tmp_path, mapping=mapping).dataset.catalog
    assert (item_table["x"].title, item_table["x"].text) == ("Name", "Words")
    assert item_table.since.tolist() == [1672531200.0]


def test_without_a_time_the_file_order_stands_in_and_says_so(tmp_path):
    made = import_data(write(tmp_path, "log.csv", "user,item\na,x\na,y\n"))
    assert not made.dataset.interactions.clock and any("there is no time" in note for note in made.report.notes)


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"user": "nobody"}, "no column 'nobody'"),
        ({"user": "ui"}, "did you mean 'uid'"),
        ({"usr": "uid"}, "did you mean 'user'"),
        ({"user": "uid", "item": "sku", "value": "sku", "time": "ts"}, "value is not a number"),
        ({"user": "uid", "item": "sku", "time": "sku"}, "time cannot be read"),
        ({"user": "uid", "item": "uid"}, "user and item are both read from 'uid'"),
    ],
)
def test_a_wrong_mapping_is_one_clear_error(tmp_path, mapping, said):
    with pytest.raises(DataError, match=said):
        import_data(write(tmp_path, "events.csv", CSV), mapping=mapping)


def test_columns_nobody_can_guess(tmp_path):
    with pytest.raises(DataError, match="no column looks like the user") as caught:
        import_data(write(tmp_path, "events.csv", "aa,bb\n1,2\n"))
    assert "aa, bb" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user item time\nu i 1\n", "divide them by comma, tab, semicolon or bar"),
        ("0, 72, 2\n0, 150, 3\n", "looks like data: put one with names above it"),
    ],
)
def test_a_table_without_columns_or_names_says_what_is_missing(tmp_path, text, said):
    with pytest.raises(DataError, match="no column looks like the user") as caught:
        import_data(write(tmp_path, "events.csv", text))
    assert said in caught.value.hint


def test_a_first_line_of_numbers_that_is_mapped_is_said_to_be_names(tmp_path):
    made = import_data(
        write(tmp_path, "events.csv", "0,72,2\n0,150,3\n"), mapping={"user": "0", "item": "72", "value": "2"}
    )
    assert len(made.dataset.interactions) == 1
    assert any("first line of events.csv is all numbers; it was read as names" in one for one in made.report.notes)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_id_that_is_no_number_is_missing_not_an_id(tmp_path, kind):
    import polars as pl

    path = tmp_path / f"events.{kind}"
    if kind == "jsonl":
        write(tmp_path, path.name, '{"user":"a","item":1.0}\n{"user":"a","item":NaN}\n{"user":NaN,"item":1.0}\n')
    else:
        pl.DataFrame({"user": [1.0, 1.0, float("nan")], "item": [1.0, float("nan"), 1.0]}).write_parquet(path)
    made = import_data(path)
    assert made.dataset.catalog.items.ids.tolist() == ["1.0"] and made.dataset.n_users == 1
    assert dict(made.report.rejected) == {"missing item": 1, "missing user": 1}


def test_a_name_spelled_nan_is_one_where_all_is_text(tmp_path):
    assert import_data(write(tmp_path, "events.csv", "user,item\nnan,x\n")).dataset.users.ids.ids.tolist() == ["nan"]


def test_an_array_of_records_is_known_by_its_columns(tmp_path):
    made = import_data(write(tmp_path, "a.json", '[{"user": "u", "item": "i"}]'))
    assert "columns for users (user) and items (item)" in made.report.why


def test_parts_with_one_header_are_one_log_and_others_are_not(tmp_path):
    head = "user,item,name\n"
    write(tmp_path, "2024-01.csv", head + "a,x,Ex\nb,y,Why\n")
    write(tmp_path, "2024-02.csv", head + "a,z,Zed\na,x,Other\n")
    made = import_data(tmp_path)
    assert sequence(made.dataset, "a") == ["x", "z", "x"] and made.dataset.catalog["x"].title == "Ex"
    assert made.dataset.catalog["z"].title == "Zed"
    write(tmp_path, "2024-03.csv", "aa,bb\n1,2\n")
    with pytest.raises(DataError, match="no reader knows"):
        import_data(tmp_path)


def test_an_odd_suffix_is_read_by_its_content(tmp_path):
    assert sequence(import_data(write(tmp_path, "play.dat", "User_ID\tGame_ID\tHours\n1\t7\t2.5\n")).dataset, "1") == [
        "7"
    ]
