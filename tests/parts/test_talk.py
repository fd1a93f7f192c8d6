import json
from dataclasses import replace

import numpy as np
import pytest

import hexarec
from hexarec.core import Message, Queries
from hexarec.parts.gist import Gist
from hexarec.parts.intent import by_rules
from hexarec.parts.said import lexicon_of
from hexarec.parts.talk import LOG, MOST, Talk, heard

CATALOG = hexarec.open_data("films").catalog
WORDS = lexicon_of(CATALOG)


def after(*turns, talk=None):
    return heard(talk or Talk(), [Message("user", turn) for turn in turns], WORDS, CATALOG)


def passes(talk, **options):
    where = talk.filters(CATALOG, **options)
    return np.ones(len(CATALOG), bool) if where is None else CATALOG.mask(where)


def genres_of(mask):
    return {genre for row in np.flatnonzero(mask) for genre in CATALOG.attributes["genres"][row]}


def test_what_was_refused_at_the_first_turn_still_is_after_thirty():
    noise = [f"tell me more about that, number {n}" for n in range(30)]
    talk = after("never show me horror", *noise)
    assert ("genres", "horror") in talk.unwanted
    assert "horror" not in genres_of(passes(talk)) and passes(talk).any()


def test_a_wish_takes_back_a_refusal_and_the_other_way_round():
    talk = after("no horror")
    talk = after("no horror", "horror is fine after all", talk=talk)
    assert talk.unwanted == () and talk.wanted == (("genres", "horror"),)
    assert after("a comedy", "no comedies").wanted == ()


def test_instead_replaces_the_wishes_of_its_field_only():
    talk = after("a comedy by Steven Spielberg", "a thriller instead")
    assert ("genres", "comedy") not in talk.wanted and ("genres", "thriller") in talk.wanted
    assert ("director", "Steven Spielberg") in talk.wanted


def test_starting_over_forgets_all_but_what_was_shown():
    turns = [
        Message("user", "no horror, I loved Alien"),
        Message("assistant", "x", ("f1001",)),
        Message("user", "start over"),
    ]
    talk = heard(Talk(), turns, WORDS, CATALOG)
    assert talk.unwanted == () and talk.liked == () and talk.shown == ("f1001",)
    assert talk.revoked == (("genres", "horror"),) and talk.left == 2
    lost = {(why, what): n for _, why, what, n in talk.forgotten}
    assert lost == {("afresh", "liked"): 1, ("afresh", "unwanted"): 1, ("afresh", "turns"): 2}
    assert heard(talk, turns, WORDS, CATALOG) == talk, "reading it again changes nothing"


def test_what_a_start_over_refuses_itself_was_not_taken_back():
    turns = [Message("user", "no horror"), Message("assistant", "Here."), Message("user", "start over, no war")]
    talk = heard(Talk(), turns, WORDS, CATALOG)
    assert (talk.unwanted, talk.revoked) == ((("genres", "war"),), (("genres", "horror"),))
    assert heard(talk, turns, WORDS, CATALOG) == talk, "reading it again changes nothing"
    talk = after("start over", talk=after("a comedy", talk=talk))
    assert talk.revoked == (("genres", "war"),), "what an earlier start over took back is not told again"


@pytest.mark.parametrize(
    ("said", "wanted", "unwanted"),
    [
        ("start over, a comedy please", ["comedy"], []),
        ("重新开始，想看喜剧，不要战争", ["comedy"], ["war"]),
        ("forget everything I said", [], []),
        ("从头开始吧", [], []),
        ("OK, let's start all over. A comedy", ["comedy"], []),
        ("Reset.", [], []),
        ("please reset, a comedy", ["comedy"], []),
        ("那就从头再来，想看喜剧", ["comedy"], []),
        ("a comedy about people who start over", ["comedy"], ["horror"]),
        ("a comedy, built from scratch", ["comedy"], ["horror"]),
        ("重新开始的喜剧", ["comedy"], ["horror"]),
        ("reset buttons and a comedy", ["comedy"], ["horror"]),
        ("please don't start over", [], ["horror"]),
        ("不要重新开始", [], ["horror"]),
        ("从头到尾都好看的喜剧", ["comedy"], ["horror"]),
        ("no reset please, a comedy", ["comedy"], ["horror"]),
    ],
)
def test_who_starts_over_says_so_and_goes_on_from_there(said, wanted, unwanted):
    talk = after("no horror", said)
    assert [value for _, value in talk.wanted] == wanted and [value for _, value in talk.unwanted] == unwanted


def test_refusals_are_never_pushed_out_and_what_has_no_place_is_accounted_for():
    many = tuple(("keywords", str(n)) for n in range(MOST))
    talk = after("no horror", talk=Talk(unwanted=many))
    assert talk.unwanted == many and talk.forgotten == ((0, "full", "unwanted", 1),)


def test_turns_that_left_stay_out_and_the_account_is_bounded():
    talk = Talk(read=9).leaving(4, "soft").leaving(2, "soft").leaving(6, "hard")
    assert talk.left == 6 and talk.forgotten == ((9, "soft", "turns", 4), (9, "hard", "turns", 2))
    for n in range(2 * LOG):
        talk = talk.losing("hard", {"facts": n + 1})
    assert len(talk.forgotten) == LOG and talk.forgotten[-1] == (9, "hard", "facts", 2 * LOG)


def test_a_client_that_sends_the_newest_turns_alone_is_heard():
    """The state counts turns: three of thirty are fewer than were read, and the last of them may hold a refusal."""
    talk = replace(after("a comedy", "hello", "hello"), read=30)
    newest = [
        Message("user", "hello"),
        Message("assistant", "x", ("f1001",)),
        Message("user", "no horror"),
    ]
    for read in (3, 30):
        told = heard(replace(talk, read=read), newest, WORDS, CATALOG)
        assert told.unwanted == (("genres", "horror"),) and told.wanted == (("genres", "comedy"),)
        assert told.shown == ("f1001",) and told.read == 3
        assert heard(told, newest, WORDS, CATALOG) == told, "reading it again changes nothing"


def test_a_refusal_beside_a_question_holds():
    for turn in (
        "Why do you show horror? I never want horror.",
        "Would I like Alien? No horror, please",
        "为什么？不要恐怖",
    ):
        assert after(turn).unwanted == (("genres", "horror"),) and not after(turn).liked
    assert after("Why is there a horror film? And would I like Alien?") == Talk(read=1)


def test_reading_goes_on_where_it_stopped():
    turns = [Message("user", "no horror"), Message("user", "horror is fine")]
    whole = heard(Talk(), turns, WORDS, CATALOG)
    parts = heard(heard(Talk(), turns[:1], WORDS, CATALOG), turns, WORDS, CATALOG)
    assert whole == parts and heard(whole, turns, WORDS, CATALOG) == whole


def test_questions_about_an_item_are_not_a_liking():
    assert after("why Alien?", "would I like Spirited Away?").liked == ()


def test_the_state_survives_json_and_odd_states_are_empty():
    talk = after("I loved Spirited Away, no horror, a comedy from the 90s")
    talk = replace(talk, gist=Gist(likes=("quiet",))).leaving(1, "soft").lacking(["gore"])
    assert Talk.parse(json.loads(json.dumps(talk.as_json()))) == talk
    assert Talk.parse({"talk": {"summary": "Likes it long."}}).gist == Gist(said=("Likes it long.",)), "as it was kept"
    for odd in (
        {},
        {"talk": 3},
        {"talk": {"liked": 5, "wanted": [["a"], [1, 2]], "years": "x", "read": -1, "summary": 4}},
        {"talk": {"gist": [1], "revoked": 3, "forgotten": [[1, 2, 3, 4], 5, ["x"]]}},
    ):
        assert Talk.parse(odd) == Talk()


def test_slots_are_bounded():
    talk = Talk.parse({"talk": {"liked": [str(n) for n in range(10 * MOST)]}})
    assert len(talk.liked) == MOST and talk.liked[-1] == str(10 * MOST - 1)


def test_filters_hold_in_a_question():
    talk = after("a comedy from the 90s, no war")
    question = Queries.one(CATALOG).filtered(talk.filters(CATALOG))
    rows = np.flatnonzero(~question.forbidden(len(CATALOG))[0])
    assert len(rows)
    for row in rows:
        assert "comedy" in CATALOG.attributes["genres"][row] and "war" not in CATALOG.attributes["genres"][row]
        assert 1990 <= CATALOG.attributes["year"][row] <= 1999
    loose = passes(talk, wishes=False)
    assert loose.sum() > len(rows) and "war" not in genres_of(loose)


def test_refusals_are_not_searched_for():
    talk = after("no horror, a comedy")
    assert talk.need("something") == "something comedy"


def test_what_a_turn_wants():
    wants = {
        "recommend": ["a comedy please", "what should I watch tonight?", "More!", "推荐一部电影"],
        "explain": ["Why that one?", "explain please", "为什么推荐这个"],
        "rate": ["Would I like Alien?", "How would I rate it", "我会喜欢吗"],
        "chat": ["Hello", "thanks!", "", "谢谢"],
    }
    for act, turns in wants.items():
        for turn in turns:
            assert by_rules(turn) == act, turn
