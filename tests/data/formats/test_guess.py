from hexarec.data.formats.guess import EVENT_NAMES, ITEM_NAMES, guess


def test_case_and_punctuation_do_not_matter():
    found = guess(["User-ID", "Stock Code", "InvoiceDate", "Overall"], EVENT_NAMES)
    assert found == {"user": "User-ID", "item": "Stock Code", "time": "InvoiceDate", "value": "Overall"}


def test_a_column_is_used_once_and_taken_ones_never():
    assert guess(["id", "name"], ITEM_NAMES, ["id"]) == {"title": "name"}
    assert len(set(guess(["user", "session"], EVENT_NAMES).values())) == 1
