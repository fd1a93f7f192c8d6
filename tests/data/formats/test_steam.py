import time

from hexarec.core import KINDS
from hexarec.data.importer import import_data

from ..makers import sequence, texts, write

REVIEWS = (
    "{u'username': u'Chaos', u'hours': 0.1, u'product_id': u'725280', u'date': u'2017-12-17', u'text': u'\\u597d', "
    "u'early_access': False}\n"
    "{u'username': u'Max', u'product_id': u'328100', u'date': u'2017-07-27', u'text': u'it\\'s'}\n"
)


def test_python_literal_reviews_and_games(tmp_path):
    write(tmp_path, "steam_reviews.json.gz", REVIEWS + "{'a': __import__('os').system('exit 1')}\n")
    write(
        tmp_path, "steam_games.json", "{u'app_name': u'G', u'id': u'725280', u'genres': [u'Action'], u'price': 4.99}\n"
    )
    made = import_data(tmp_path)
    assert made.report.format == "steam" and sorted(texts(made.dataset)) == ["it's", "好"]
    assert made.report.rejected == {"the line is not a record": 1}  # parsed as a literal, never run
    assert made.dataset.catalog["725280"].attributes == {"genres": ("Action",), "price": 4.99}


def test_nested_reviews_say_like_and_dislike(tmp_path):
    row = (
        "{'user_id': 'u', 'user_url': 'x', 'reviews': [{'posted': 'Posted November 5, 2011.', 'item_id': '1', "
        "'recommend': True, 'review': 'a'}, {'posted': 'Posted July 3.', 'item_id': '2', "
        "'recommend': False, 'review': ''}, "
        "{'posted': 'Posted July 3, 2012.', 'item_id': '3', 'recommend': False, 'review': 'no'}]}\n"
    )
    made = import_data(write(tmp_path, "australian_user_reviews.json", row))
    log = made.dataset.interactions
    assert [KINDS[k] for k in log.kind] == ["like", "dislike"] and log.liked.tolist() == [True, False]
    assert made.report.rejected == {"time cannot be read": 1}
    assert time.gmtime(log.time[0])[:3] == (2011, 11, 5)


def test_owned_games_have_an_order_but_no_clock(tmp_path):
    row = (
        "{'user_id': 'u', 'items_count': 2, 'items': [{'item_id': '9', 'item_name': 'Nine', 'playtime_forever': 6}, "
        "{'item_id': '8', 'item_name': 'Eight', 'playtime_forever': 0}]}\n"
    )
    made = import_data(write(tmp_path, "australian_users_items.json", row))
    assert not made.dataset.interactions.clock and sequence(made.dataset, "u") == ["9", "8"]
    assert made.dataset.catalog["8"].title == "Eight" and made.dataset.interactions.value.tolist() == [6, 0]
