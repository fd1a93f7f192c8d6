import json

from hexarec.parts.gist import MOST, Gist


def test_what_is_unwanted_now_is_liked_no_more_and_the_other_way_round():
    before = Gist(likes=("Horror", "tea"), must_not=("war",), must=("clocks",), open_question=("which one?",))
    made = before.and_then(Gist(dislikes=("horror",), must=("war",), must_not=("rain",)))
    assert made == Gist(("rain",), ("clocks", "war"), ("horror",), ("tea",), ("which one?",))
    assert made.and_then(Gist(likes=("horror",), open_question=("and now?",))).dislikes == ()


def test_the_last_question_stays_open_alone_and_sets_are_bounded():
    made = Gist()
    for n in range(2 * MOST):
        made = made.and_then(Gist(likes=(str(n),), open_question=(f"{n}?",)))
    assert (
        made.open_question == (f"{2 * MOST - 1}?",) and len(made.likes) == MOST and made.likes[-1] == str(2 * MOST - 1)
    )


def test_it_survives_json_and_odd_values_are_empty():
    made = Gist(must_not=("war",), said=("I like tea.",))
    assert Gist.parse(json.loads(json.dumps(made.as_json()))) == made and not Gist() and Gist.parse("") == Gist()
    for odd in (3, None, [1], {"likes": 3, "must": [1, {}, " "]}):
        assert Gist.parse(odd) == Gist()


def test_it_reads_in_both_languages_refusals_first():
    made = Gist(must_not=("war", "rain"), likes=("tea",))
    assert made.words("en") == "does not want: war, rain; likes: tea"
    assert made.words("zh") == "不要：war、rain；喜欢：tea" and Gist().words("en") == ""


def test_what_has_no_room_goes_from_the_last_set_on_and_refusals_last():
    made = Gist(must_not=("war", "rain"), likes=("tea", "milk"), said=("x",))
    assert [made.within(lambda one, n=n: len(one.words("en").split()) <= n) for n in (10, 9, 7, 6, 4, 0)] == [
        made,
        Gist(must_not=("war", "rain"), likes=("tea", "milk")),
        Gist(must_not=("war", "rain"), likes=("milk",)),
        Gist(must_not=("war", "rain")),
        Gist(must_not=("rain",)),
        Gist(),
    ]
