from hexarec.data.importer import import_data

from ..makers import lines, sequence, texts, write

A, B = "B000000001", "0439893577"


def test_2014_order_is_decided_from_the_values(tmp_path):
    path = write(tmp_path, "ratings_Toys.csv", f"A1YJEY40YUW4SE,{A},5.0,1369699200\nA60XNB876KYML,{B},2.0,1355443200\n")
    made = import_data(path)
    assert made.report.format == "amazon" and any("user,item,rating,time (2014)" in n for n in made.report.notes)
    assert sequence(made.dataset, "A1YJEY40YUW4SE") == [A]


def test_2018_order_is_decided_from_the_values(tmp_path):
    path = write(tmp_path, "Toys.csv", f"{A},A1YJEY40YUW4SE,5.0,1369699200\n{B},A60XNB876KYML,2.0,1355443200\n")
    made = import_data(path)
    assert any("item,user,rating,time (2018)" in n for n in made.report.notes)
    assert sequence(made.dataset, "A1YJEY40YUW4SE") == [A]


def test_reviews_and_meta_of_2014(tmp_path):
    reviews = [
        {
            "reviewerID": "U1",
            "asin": A,
            "overall": 5.0,
            "unixReviewTime": 1369699200,
            "reviewText": "good",
            "summary": "S",
        },
        {"reviewerID": "U1", "asin": B, "overall": 1.0, "unixReviewTime": 1369699300, "reviewText": "", "summary": ""},
    ]
    write(tmp_path, "reviews_Toys_5.json.gz", lines(reviews))
    meta = (
        "{'asin': '"
        + A
        + "', 'title': 'A \"toy\"', 'price': 12.5, 'categories': [['Toys', 'Blocks']], 'brand': u'Ö'}\n"
    )
    write(tmp_path, "meta_Toys.json.gz", meta)  # the publisher's own files hold Python literals
    made = import_data(tmp_path)
    item = made.dataset.catalog[A]
    assert item.title == 'A "toy"' and item.attributes["price"] == 12.5 and item.attributes["brand"] == "Ö"
    assert item.attributes["categories"] == ("Toys", "Blocks")
    assert texts(made.dataset) == ["S\ngood"] and made.report.orphans == 1
    assert made.dataset.interactions.liked.tolist() == [True, True]  # two values are no scale yet: see the like rule


def test_2023_csv_with_milliseconds_and_history(tmp_path):
    head = "user_id,parent_asin,rating,timestamp,history\n"
    write(tmp_path, "Toys.train.csv", head + f"U1,{A},5.0,1588615855070,\nU2,{B},3.0,1588615855071,\n")
    write(tmp_path, "Toys.test.csv", head + f"U1,{B},4.0,1588615990000,{A}\n")
    made = import_data(tmp_path)
    assert made.report.time_unit == "milliseconds" and sequence(made.dataset, "U1") == [A, B]
    assert abs(made.dataset.interactions.time[0] - 1588615855.070) < 1e-3
    assert any("history" in note for note in made.report.notes)


def test_2023_reviews_and_meta(tmp_path):
    row = {
        "rating": 5.0,
        "title": "T",
        "text": "x",
        "asin": "B1",
        "parent_asin": A,
        "user_id": "U",
        "timestamp": 1588615855070,
    }
    write(tmp_path, "Toys.jsonl", lines([row, {**row, "rating": None}]) + "{not a record\n")
    product = {"main_category": "Toys", "title": "Blocks", "features": ["f1", "f2"], "description": [],
               "price": "$1,299.00",
               "store": "S", "categories": ["Toys"], "parent_asin": A}  # fmt: skip
    write(tmp_path, "meta_Toys.jsonl", lines([product]))
    made = import_data(tmp_path)
    item = made.dataset.catalog[A]
    assert (item.title, item.text, item.attributes["price"]) == ("Blocks", "f1\nf2", 1299.0)
    assert len(made.dataset.interactions) == 2 and made.report.rejected == {"the line is not a record": 1}
    assert made.report.rejects.row(0)[:2] == ("Toys.jsonl", 3)
