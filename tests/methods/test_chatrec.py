import json
from dataclasses import replace

import numpy as np
import pytest

import hexarec
from hexarec.core import (
    CapabilityError,
    Catalog,
    Dialogue,
    Item,
    Lists,
    Message,
    OptionError,
    Words,
    load,
    run,
    save,
)
from hexarec.lm.base import Completion
from hexarec.lm.fake import Double, Overlap, PositionBiased
from hexarec.lm.open import open_encoder, open_lm
from hexarec.methods.chatrec import PROMPTS, ChatRec
from hexarec.parts.promptroom import FORMAT
from hexarec.parts.replies import Replies

FILMS = hexarec.open_data("films")
USER = FILMS.users.ids.ids[3]


class Heard(Overlap):
    """Answers as Overlap does and keeps every prompt."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def label(self, prompts, labels):
        self.asked += [prompt.text for prompt in prompts]
        return super().label(prompts, labels)

    def generate(self, prompts, within=None):
        self.asked += [prompt.text for prompt in prompts]
        return super().generate(prompts, within)


class Desk:
    """A recommender that answers with the first permitted rows, and tells what it was asked."""

    graph = None

    def __init__(self, catalog=FILMS.catalog):
        self.catalog, self.queries = catalog, []

    def retrieve(self, queries, k):
        self.queries.append(queries)
        rows = np.flatnonzero(~queries.forbidden(len(self.catalog))[0])[:k]
        return Lists.of(self.catalog.key, [rows.tolist()])


FITTED = ChatRec(Heard(), open_encoder("tfidf"), domain="film").fit(FILMS)


def method(lm=None, **options):
    made = replace(FITTED, lm=lm or Heard(), **options)
    for name in ("key_", "seed_", "known_", "met_", "because_", "space_", "ids_", "titles_"):
        setattr(made, name, getattr(FITTED, name))
    return made


def talk(stage, *turns, user=None, desk=None):
    """The replies to the turns, one after the other; the state travels as JSON."""
    dialogue, replies = Dialogue((), {}, user), []
    for said in turns:
        dialogue = replace(dialogue, turns=(*dialogue.turns, Message("user", said)))
        reply = stage.converse([dialogue], desk or Desk())[0]
        replies.append(reply)
        turn = Message("assistant", reply.words.text, reply.items)
        dialogue = replace(dialogue, turns=(*dialogue.turns, turn), state=json.loads(json.dumps(dict(reply.state))))
    return replies


def genres(reply):
    rows = FILMS.catalog.rows(list(reply.items))
    return [set(FILMS.catalog.attributes["genres"][row]) for row in rows]


def test_a_wish_gets_a_list_of_catalog_items_with_reasons_tied_to_real_history():
    reply = talk(method(), "a comedy, no horror", user=USER)[0]
    assert reply.act == "recommend" and len(reply.items) == 5
    assert all("comedy" in own and "horror" not in own for own in genres(reply))
    liked = [FILMS.catalog.titles[row] for row in FILMS.queries([3])[0].items]
    for line in reply.words.text.splitlines()[1:]:
        if "Because you liked" in line:
            assert any(f"Because you liked {title}:" in line for title in liked)
    assert [claim.verdict for claim in reply.words.claims] == ["supported"] * len(reply.words.claims)


def test_spans_point_from_titles_to_ids():
    reply = talk(method(), "a comedy")[0]
    for span, one in zip(reply.words.spans, reply.items, strict=True):
        assert span.item == one
        assert reply.words.text[span.start : span.stop] == FILMS.catalog[one].title


def test_a_title_that_is_a_number_is_not_taken_for_its_place_in_the_list():
    catalog = Catalog.of([Item("x", "."), Item("y", "2"), Item("z", "2 - 3")])
    why = [Words("2.")] * 3
    reply = Replies(PROMPTS, catalog, "en", {}).listed(Words("Here:"), [0, 1, 2], why)
    assert [reply.words.text[: span.start].rsplit("\n", 1)[1] for span in reply.words.spans] == ["1. ", "2. ", "3. "]
    assert [reply.words.text[span.start : span.stop] for span in reply.words.spans] == [".", "2", "2 - 3"]


def test_a_refusal_of_the_first_turn_holds_to_the_last_and_nothing_is_shown_twice():
    noise = ["more", "something else please", "and again"] * 3
    replies = talk(method(), "never any horror or war please", *noise)
    shown = [one for reply in replies for one in reply.items]
    assert len(shown) == len(set(shown)) and len(shown) > 20
    assert not any(own & {"horror", "war"} for reply in replies for own in genres(reply))


def test_a_client_may_send_the_newest_turns_alone():
    lm = Heard()
    stage = method(lm, memory=60)
    state = dict(talk(stage, "never any war please", *["tell me more about long and quiet ones " * 3] * 8)[-1].state)
    assert state["talk"]["left"] > 3
    lm.asked.clear()
    newest = (Message("user", "hm"), Message("assistant", "Well?"), Message("user", "a film, but no horror"))
    reply = stage.converse([Dialogue(newest, state)], Desk())[0]
    assert reply.items and not any(own & {"horror", "war"} for own in genres(reply))
    assert "a film, but no horror" in lm.asked[-1] and reply.state["talk"]["left"] == 2


def test_prompts_stay_bounded_however_long_the_dialogue():
    lm = Heard()
    talk(method(lm, memory=60), *(["I want something long and quiet, tell me more of it " * 4] * 12))
    lengths = [len(text) for text in lm.asked]
    assert max(lengths[len(lengths) // 2 :]) < 1.3 * max(lengths[: len(lengths) // 2])


def test_wishes_give_way_where_nothing_is_left_and_refusals_never():
    reply = talk(method(), "a western made before 1900, no horror")[0]
    assert reply.items and not any("horror" in own for own in genres(reply))
    assert reply.words.text.startswith(PROMPTS.en["relaxed"])


def test_nothing_at_all_asks_back():
    class Empty(Desk):
        def retrieve(self, queries, k):
            return Lists.empty(self.catalog.key, len(queries))

    stage = method()
    stage.space_ = None
    reply = talk(stage, "a comedy", desk=Empty())[0]
    assert reply.act == "ask" and reply.items == () and reply.words.text == PROMPTS.en["none"]


def test_greetings_are_talk_in_the_models_words_as_a_stream():
    events = []
    with run(emit=lambda event: events.append(event) if event.get("kind") == "words" else None):
        reply = talk(method(open_lm("fake:overlap")), "Hello!")[0]
    assert reply.act == "chat" and reply.items == () and len(events) > 1
    assert "".join(event["text"] for event in events).split() == reply.words.text.split()
    lists = []
    with run(emit=lambda event: lists.append(event) if event.get("kind") == "words" else None):
        listed = talk(method(), "a comedy")[0]
    assert "".join(event["text"] for event in lists) == listed.words.text and len(lists) == 6


def test_why_gives_reasons_for_what_was_shown_or_named():
    first, why, second = talk(method(), "a comedy", "why these?", "and why the second one?", user=USER)
    assert why.act == "explain" and why.items == first.items
    assert second.items == (first.items[1],)
    named = talk(method(), "Why would you show Spirited Away?", user=USER)[0]
    assert [FILMS.catalog[one].title for one in named.items] == ["Spirited Away"]
    assert talk(method(), "why?")[0].act == "ask"


def test_an_item_is_no_reason_for_itself():
    reply = talk(method(), "I loved Spirited Away, more please", "why Spirited Away?")[-1]
    assert "Because you liked Spirited Away" not in reply.words.text


def test_ratings_in_talk_and_in_lists():
    class Four(Overlap):
        def label(self, prompts, labels):
            row = np.log([0.01, 0.01, 0.01, 0.96, 0.01]) if len(labels) == 5 else np.zeros(len(labels))
            return np.tile(row.astype(np.float32), (len(prompts), 1))

    reply = talk(method(Four()), "Would I like Alien?")[0]
    assert reply.words.text == "I think you would give Alien 4.0 of 5." and reply.act == "explain"
    assert talk(method(Four()), "would I like it?")[0].act == "ask"
    queries = FILMS.queries([0, 1])
    shown = Lists.of(FILMS.catalog.key, [[3, 4], [5]])
    made = method(Four()).predict(queries, shown)
    assert np.allclose(made.scores, 0.01 * (1 + 2 + 3 + 5) + 0.96 * 4, atol=1e-3)


def test_ratings_as_text_are_read_and_clamped():
    class Says(Overlap):
        def answer(self, prompt, within):
            return Completion("11 of course")

    queries = FILMS.queries([0])
    made = method(Says(), rating="text").predict(queries, Lists.of(FILMS.catalog.key, [[3]]))
    assert made.scores.tolist() == [5.0]


def test_the_prompt_holds_profile_ratings_slots_and_dialogue():
    lm = Heard()
    talk(method(lm, profile=tuple(FILMS.users.attributes)), "a comedy", "no war please", user=USER)
    text = lm.asked[-1]
    assert all(f"{name}: " in text.split("About the person: ")[1].split("\n")[0] for name in FILMS.users.attributes)
    assert "The person wants: comedy." in text and "The person does not want: war." in text
    assert "Person: a comedy\nYou: Here is what I would suggest:" in text and "Person: no war please" in text
    past = FILMS.queries([3])[0]
    for item, value in list(zip(past.items, past.values, strict=True))[-10:]:
        assert f". {FILMS.catalog.titles[item]}: {value:g}\n" in text


def test_the_recommender_is_asked_with_history_need_and_filters():
    desk = Desk()
    talk(method(), "I loved Spirited Away. A comedy, no horror.", user=USER, desk=desk)
    asked = desk.queries[0]
    assert asked.user_ids() == [USER] and "comedy" in asked.text[0]
    assert FILMS.catalog.titles[asked[0].items[-1]] == "Spirited Away" and asked.where is not None


@pytest.mark.parametrize(
    ("turns", "text"),
    [
        (["A comedy from the 90s, but no horror or war."], "A comedy from the 90s comedy"),
        (["something quiet, no zombies please"], "something quiet"),
        (["一部喜剧，不要恐怖片"], "一部喜剧 comedy"),
        (["a comedy", "no horror"], "comedy"),
        (["a comedy", "不要恐怖片"], "comedy"),
        (["a comedy", "something about a clock"], "something about a clock comedy"),
    ],
)
def test_refusals_are_never_searched_for_and_wishes_of_earlier_turns_are(turns, text):
    desk = Desk()
    talk(method(), *turns, desk=desk)
    assert desk.queries[-1].text.tolist() == [text]


def test_a_turn_of_refusals_alone_searches_for_nothing():
    desk = Desk()
    reply = talk(method(), "no horror", desk=desk)[0]
    assert desk.queries[0].text is None and reply.items


def test_the_store_does_not_find_what_was_refused():
    shelf = Catalog.of([Item("z", "Zombies of the marsh"), Item("q", "Quiet days at the marsh"), Item("c", "Clocks")])
    reply = talk(method(backend="none"), "something quiet, no zombies please", desk=Desk(shelf))[0]
    assert reply.items[0] == "q"


def test_a_new_item_is_found_a_turn_after_it_was_added():
    grown = FILMS.catalog.extend(
        [
            Item(
                "new",
                "The Clockmaker of Zug",
                "A clockmaker mends a tower clock in a Swiss town.",
                {"genres": ("drama",)},
            )
        ]
    )
    stage = method().extend(grown)
    reply = talk(stage, "a film about a clockmaker and a tower clock in a Swiss town", desk=Desk(grown))[0]
    assert "new" in reply.items
    assert len(FITTED.space_.vectors_) == len(FILMS.catalog)


def test_the_models_own_opening_is_shown_only_when_it_is_true():
    class Opens(Overlap):
        text = "Here are some films for you."

        def answer(self, prompt, within):
            return Completion(self.text)

    good = talk(method(Opens(), wording="model"), "a comedy")[0]
    assert good.words.text.startswith("Here are some films for you.")
    lying = type("Lies", (Opens,), {"text": "All of them were directed by Alfred Hitchcock in 1801."})
    bad = talk(method(lying(), wording="model"), "a comedy")[0]
    assert bad.words.text.startswith(PROMPTS.en["here"]) and bad.words.answers == (lying.text,)


def test_a_second_domain_keeps_the_person_and_changes_the_shelf():
    from hexarec.core import Catalog

    books = Catalog.of([Item(f"b{n}", f"A book about {word}") for n, word in enumerate(["dragons", "clocks", "tea"])])
    lm = Heard()
    reply = talk(method(lm), "something with dragons", user=USER, desk=Desk(books))[0]
    assert set(reply.items) <= {"b0", "b1", "b2"} and reply.items[0] == "b0"
    past = FILMS.queries([3])[0]
    assert str(FILMS.catalog.titles[past.items[-1]]) in lm.asked[0] and "A book about tea" in lm.asked[0]


def test_the_model_gates_where_it_is_asked_to():
    class Gate(Overlap):
        def label(self, prompts, labels):
            if labels == ("A", "B", "C", "D") and "What does the person want" in prompts[0].text:
                return np.tile(np.array([-9, -9, -9, -0.1], np.float32), (len(prompts), 1))
            return super().label(prompts, labels)

    assert talk(method(Gate(), gate="model"), "a comedy")[0].act == "chat"
    assert talk(method(Gate()), "a comedy")[0].act == "recommend"


def test_turns_that_no_longer_fit_are_summed_up_once():
    class Sums(Heard):
        def answer(self, prompt, within):
            summed = '{"likes": ["long films"], "must_not": []}'
            return Completion(summed if "A part of a dialogue" in prompt.text else "Well.")

    lm = Sums()
    replies = talk(method(lm, memory=40, summary=True), *(["I want long films and slow ones, with many words"] * 6))
    assert replies[-1].state["talk"]["gist"] == {"likes": ["long films"]}
    assert "Said before: likes: long films" in lm.asked[-1]
    parts = [text for text in lm.asked if "A part of a dialogue" in text]
    assert 1 < len(parts) == len(set(parts))


class Measuring(Heard):
    """Counts a token for four letters, and notes the longest prompt of any kind."""

    def count(self, texts):
        return np.array([-(-len(text) // 4) for text in texts], np.int32)

    def stream(self, prompt):
        self.asked.append(prompt.text)
        return super().stream(prompt)


@pytest.mark.parametrize("options", [{}, {"wording": "model", "gate": "model"}, {"backend": "list"}, {"summary": True}])
@pytest.mark.parametrize("hard", [1400, 700, 450])
def test_a_needle_of_the_first_turn_holds_through_thirty_turns_of_noise_and_every_prompt_is_bounded(options, hard):
    lm = Measuring()
    noise = ["Tell me about long and quiet ones, of ships and the sea and storms. " * 5, "hello", "and again", "why?",
             "would I like Alien?", "继续，说说海上的故事吧" * 20]  # fmt: skip
    stage = method(lm, soft=min(1000, hard), hard=hard, **options)
    replies = talk(stage, "Never show me horror or war, please.", *(noise * 5), user=USER)
    shown = [own for reply in replies if reply.act == "recommend" for own in genres(reply)]
    assert len(shown) > 40 and not any(own & {"horror", "war"} for own in shown)
    sizes = lm.count(lm.asked) + FORMAT
    assert len(sizes) > 20 and sizes.max() <= hard and sizes.max() > 0.75 * min(hard, 1000)
    state = replies[-1].state["talk"]
    assert state["unwanted"] == [["genres", "horror"], ["genres", "war"]]
    assert state["left"] > 20 and sum(n for _, _, what, n in state["forgotten"] if what == "turns") >= 6


def test_what_a_prompt_has_no_room_for_is_told():
    told = []
    with run(complain=told.append):
        reply = talk(method(Measuring(), soft=250, hard=300), "a comedy", user=USER)[0]
    assert len(reply.items) == 5
    ((turn, why, what, n),) = reply.state["talk"]["forgotten"]
    assert (turn, why, what) == (1, "hard", "facts") and 0 < n <= 20
    assert f"a prompt has at most 300 tokens; left out: facts {n}" in told


def test_candidates_without_room_are_shown_behind_those_that_were_asked_about():
    class Dear(Measuring):
        def count(self, texts):
            return np.array([len(text) for text in texts], np.int32)

    lm = Dear()
    reply = talk(method(lm, soft=400, hard=400, shown=20), "a comedy", user=USER)[0]
    assert len(reply.items) == 20 and 0 < lm.asked[-1].count("\n[") < 20


def test_where_no_prompt_fits_nothing_is_asked_and_the_order_found_stands():
    lm, told = Measuring(), []
    stage = method(lm, prompts=replace(PROMPTS, en={**PROMPTS.en, "role": PROMPTS.en["role"] + "x" * 6000}))
    with run(complain=told.append):
        reply = talk(stage, "a comedy", user=USER)[0]
        assert talk(stage, "hello")[0].words.text == PROMPTS.en["hello"]
        assert talk(stage, "would I like Alien?")[0].words.text == PROMPTS.en["unrated"].format(title="Alien")
    assert reply.items == talk(method(backend="none"), "a comedy", user=USER)[0].items and not lm.asked
    assert reply.notes["parse"]["fallback"] == 1 and any("not asked" in one for one in told)


def test_ratings_are_asked_for_within_the_bound():
    lm = Measuring()
    queries, shown = FILMS.queries([0, 1, 3]), Lists.of(FILMS.catalog.key, [[3, 4], [5], [6]])
    made = method(lm, soft=200, hard=200).predict(queries, shown)
    assert (lm.count(lm.asked) + FORMAT).max() <= 200 and not np.isnan(made.scores).any()


class Subjects:
    """Texts about boots in one direction, all others in another."""

    name = spec = "subjects"
    dim = 2

    def encode(self, texts):
        return np.array([[0, 1] if "boots" in one else [1, 0] for one in texts], np.float32)


def test_a_new_topic_is_told_and_keeps_what_was_refused_and_wanted():
    lm = Heard()
    turns = ["a quiet comedy, no horror", "a film about clocks, no war", "walking boots for wet ground"]
    replies = talk(method(lm, encoder=Subjects(), topic=0.5), *turns)
    assert not any("something else" in one.words.text for one in replies[:2])
    first = "This is about something else, so I leave what was said before aside. I still keep to: comedy, no horror, no war. "
    assert replies[2].words.text.startswith(first)
    before, after = (one.state["talk"] for one in replies[1:])
    assert after["wanted"] == before["wanted"] and after["left"] == 4
    assert after["unwanted"] == before["unwanted"] == [["genres", "horror"], ["genres", "war"]]
    assert [5, "topic", "turns", 4] in after["forgotten"]
    assert "walking boots" in lm.asked[-1] and "about clocks" not in lm.asked[-1]
    for span, one in zip(replies[2].words.spans, replies[2].items, strict=True):
        assert replies[2].words.text[span.start : span.stop] == FILMS.catalog[one].title
    zh = talk(method(encoder=Subjects(), topic=0.5), "想看喜剧，不要恐怖片", "防水的 boots 登山")[1].words.text
    assert zh.startswith("这是另一个话题，之前说过的先放在一边。仍然有效：喜剧, 不要恐怖。")


def test_starting_over_is_told_with_the_refusals_that_it_takes_back():
    lm = Heard()
    replies = talk(method(lm), "a quiet drama about clocks, no horror", "start over, a comedy")
    text = "I start over: what you said before no longer counts. No longer ruled out: horror. "
    assert replies[1].words.text.startswith(text) and "about clocks" not in lm.asked[-1]
    state = replies[1].state["talk"]
    assert state["wanted"] == [["genres", "comedy"]] and state["unwanted"] == [] and state["left"] == 2
    assert not set(replies[1].items) & set(replies[0].items), "what was shown is not shown again"
    zh = talk(method(), "不要恐怖片", "重新开始吧，想看喜剧")[1].words.text
    assert zh.startswith("重新开始：之前说过的不再算数。不再排除：恐怖。")
    assert "I start over: what" in talk(method(), "start over")[0].words.text


def test_candidates_are_not_all_alike():
    def alike(reply):
        own = genres(reply)
        return np.mean([len(a & b) / len(a | b) for i, a in enumerate(own) for b in own[i + 1 :]])

    def near(reply):
        rows = FITTED.space_.vectors_[FILMS.catalog.rows(list(reply.items))]
        return np.triu(rows @ rows.T, 1).sum()

    options = {"backend": "none", "shown": 10, "candidates": 10}
    plain, spread = (talk(method(share=share, **options), "a quiet one", user=USER)[0] for share in (1.0, 0.3))
    assert near(spread) < near(plain) - 1.0
    bare = [method(share=share, encoder=None, **options) for share in (1.0, 0.3)]
    for stage in bare:
        stage.space_ = None
    plain, spread = (talk(stage, "a comedy")[0] for stage in bare)
    assert alike(spread) < alike(plain) - 0.02, "by what they share where there is no text as vectors"
    assert spread.items[0] == plain.items[0]


def test_how_far_the_order_of_the_prompt_decides():
    desk, dialogues = Desk(), [Dialogue((Message("user", said),)) for said in ("a comedy", "a drama", "hello")]
    assert method(PositionBiased(strength=1.0)).agreement(dialogues, desk).value == pytest.approx(0, abs=0.15)
    fair = method(Overlap()).agreement([replace(one, user=USER) for one in dialogues], desk, shuffles=4)
    assert fair.value > 0.5 and len(fair.values) == 2, "talk asks for no list"
    assert np.isnan(method(Broken()).agreement(dialogues, desk).value)
    for stage, shuffles in ((method(backend="none"), 10), (method(), 1)):
        with pytest.raises(OptionError):
            stage.agreement(dialogues, desk, shuffles)


def test_a_reply_tells_whether_the_models_order_was_of_use():
    good, broken, none = (
        talk(one, "a comedy")[0].notes for one in (method(), method(Broken()), method(backend="none"))
    )
    assert good["parse"]["fallback"] == 0 and good["parse"]["matched"] == 20 and good["fault"] == ""
    assert broken["parse"]["fallback"] == 1 and broken["fault"] and not none
    assert json.loads(json.dumps(broken)) == broken


def test_what_was_saved_before_the_bounds_loads_with_their_defaults(tmp_path):
    import hashlib

    place = save(FITTED, tmp_path / "kept")
    nodes = json.loads((place / "nodes.json").read_text())
    for name in ("soft", "hard", "topic", "share"):
        assert sum(node["values"].pop(name, None) is not None for node in nodes) == 1
    (place / "nodes.json").write_text(json.dumps(nodes))
    about = json.loads((place / "manifest.json").read_text())
    about["files"]["nodes.json"] = hashlib.sha256((place / "nodes.json").read_bytes()).hexdigest()
    (place / "manifest.json").write_text(json.dumps(about))
    back = load(place, lambda kind, spec, options: Heard() if kind == "lm" else open_encoder(spec))
    assert (back.soft, back.hard, back.topic, back.share) == (1000, 1400, 0.1, 0.7)
    assert talk(back, "a comedy", user=USER)[0].items == talk(FITTED, "a comedy", user=USER)[0].items
    kept = {"talk": {"unwanted": [["genres", "horror"]], "summary": "Likes it long.", "left": 1, "read": 1}}
    reply = back.converse([Dialogue((Message("user", "hi"), Message("user", "a comedy")), kept)], Desk())[0]
    assert reply.state["talk"]["gist"] == {"said": ["Likes it long."]} and "Likes it long." in back.lm.asked[-1]


class Broken(Overlap):
    """Gives no numbers and no words."""

    def label(self, prompts, labels):
        return np.full((len(prompts), len(labels)), np.nan, np.float32)

    def answer(self, prompt, within):
        return Completion("", "error", error="down")


def test_a_broken_model_leaves_the_recommenders_order_and_says_so():
    told = []
    with run(complain=told.append):
        reply = talk(method(Broken(), gate="model"), "a comedy")[0]
        rated = talk(method(Broken()), "would I like Alien?")[0]
        hello = talk(method(Broken()), "hello")[0]
    plain = talk(method(Broken(), backend="none"), "a comedy")[0]
    assert reply.items == plain.items and told
    assert rated.words.text == "I cannot say how you would rate Alien." and hello.words.text


def test_the_order_of_candidates_is_the_models():
    class Likes(Overlap):
        def worth(self, page):
            return [float("Amélie" in option) for option in page.options]

    class Shelf(Desk):
        def retrieve(self, queries, k):
            rows = np.flatnonzero(~queries.forbidden(len(self.catalog))[0])
            return Lists.of(self.catalog.key, [rows[-k:].tolist()])

    stage = method(Likes(), candidates=20)
    stage.space_ = None
    plain = talk(method(backend="none"), "a comedy", desk=Shelf())[0]
    wanted = next((n for n, t in enumerate(FILMS.catalog.titles) if "Amélie" in t), None)
    assert wanted is not None and plain.items

    class Only(Desk):
        def retrieve(self, queries, k):
            return Lists.of(self.catalog.key, [[0, 1, 2, wanted]])

    assert talk(stage, "something new", desk=Only())[0].items[0] == FILMS.catalog.items.ids[wanted]


def test_chinese():
    reply = talk(method(), "想看一部喜剧，不要恐怖片", user=USER)[0]
    assert reply.words.lang == "zh" and reply.words.text.startswith("我的推荐：")
    assert all("comedy" in own and "horror" not in own for own in genres(reply))


def test_each_turn_is_answered_in_its_own_language():
    replies = talk(method(), "想看一部喜剧", "a drama instead", "👍")
    assert [reply.words.lang for reply in replies] == ["zh", "en", "en"]
    assert replies[1].words.text.startswith(PROMPTS.en["here"])


def test_candidates_of_the_recommender_stay_beside_those_of_the_store():
    class Last(Desk):
        def retrieve(self, queries, k):
            rows = np.flatnonzero(~queries.forbidden(len(self.catalog))[0])
            return Lists.of(self.catalog.key, [rows[-1:].tolist()])

    desk = Last()
    shown = talk(method(backend="none"), "a film about a clock", desk=desk)[0].items
    assert FILMS.catalog.items.ids[-1] in shown and len(shown) == 5


BARE = Catalog.of([Item(f"i{n}", f"Story {n}", "A story.") for n in range(8)])


@pytest.mark.parametrize(
    ("said", "unkept", "sentence"),
    [
        ("no horror", ["horror"], "The catalog has no word for this, so I cannot keep to it: horror. "),
        ("不要科幻", ["科幻"], "目录中没有相应的词语，因此无法遵守：科幻。"),
        ("a story from the 90s", ["the 90s"], "The catalog has no word for this, so I cannot keep to it: the 90s. "),
        ("Why? I never want gore.", ["gore"], "The catalog has no word for this, so I cannot keep to it: gore. "),
        ("thanks, no gore", ["gore"], "The catalog has no word for this, so I cannot keep to it: gore. "),
        ("something quiet", [], ""),
        ("no thanks, something else", [], ""),
    ],
)
def test_what_the_catalog_has_no_word_for_is_said_and_noted(said, unkept, sentence):
    told, heard = [], []
    with run(complain=told.append, emit=lambda event: heard.append(event.get("text") or "")):
        reply = talk(method(), said, desk=Desk(BARE))[0]
    assert reply.words.text.startswith(sentence) and ("no word for" in reply.words.text) == (sentence[:3] == "The")
    assert "".join(heard).startswith(sentence) and reply.state["talk"]["unkept"] == unkept
    assert any("the catalog has no word" in one for one in told) == bool(unkept)
    for span, one in zip(reply.words.spans, reply.items, strict=False):
        assert reply.words.text[span.start : span.stop] == BARE[one].title


def test_a_wish_without_a_word_of_the_catalog_is_kept_by_a_store_alone():
    stage = method(encoder=None)
    stage.space_ = None
    assert "I cannot keep to it: comedy. " in talk(stage, "a comedy please", desk=Desk(BARE))[0].words.text
    assert "no word" not in talk(method(), "a comedy please", desk=Desk(BARE))[0].words.text
    assert "no word" not in talk(stage, "a comedy please")[0].words.text


def test_it_forgets_and_comes_back(tmp_path):
    from hexarec.core import forget

    stage = forget(FITTED, [USER])
    lm = Heard()
    talk(replace_lm(stage, lm), "a comedy", user=USER)
    assert "Nothing is known yet" in lm.asked[-1]
    save(FITTED, tmp_path / "kept")
    back = load(tmp_path / "kept", lambda kind, spec, options: Heard() if kind == "lm" else open_encoder(spec))
    ours, theirs = (talk(one, "a comedy, no war", user=USER)[0] for one in (FITTED, back))
    assert ours.items == theirs.items and ours.words.text == theirs.words.text


def test_what_a_user_met_is_not_shown_again_however_long_ago():
    from hexarec.core import forget

    most = int(np.diff(FILMS.interactions.offsets).argmax())
    met = set(FILMS.catalog.ids(FILMS.interactions.item[slice(*FILMS.interactions.offsets[most : most + 2])]))
    assert len(met) > 5 * FITTED.history
    ask = {"user": FILMS.users.ids.ids[most]}
    shown = talk(method(backend="none", candidates=100, shown=100), "something", **ask)[0].items
    assert len(shown) > 20 and not met & set(shown)
    erased = replace_lm(forget(FITTED, [ask["user"]]), Heard())
    assert met & set(talk(erased, "something", **ask)[0].items), "of one who was erased nothing is known"


def replace_lm(stage, lm):
    from hexarec.core import variant

    return variant(stage, lm=lm)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"gate": "ask"}, OptionError),
        ({"wording": "poem"}, OptionError),
        ({"rating": "stars"}, OptionError),
        ({"candidates": 0}, OptionError),
        ({"shown": 0}, OptionError),
        ({"memory": 0}, OptionError),
        ({"soft": 1500}, OptionError),
        ({"soft": 100, "hard": 150}, OptionError),
        ({"topic": 2.0}, OptionError),
        ({"topic": "0.5"}, OptionError),
        ({"soft": "600"}, OptionError),
        ({"memory": float("nan")}, OptionError),
        ({"memory": True}, OptionError),
        ({"hard": float("inf")}, OptionError),
        ({"summary": "no"}, OptionError),
        ({"share": -0.1}, OptionError),
        ({"low": 5, "high": 1}, OptionError),
        ({"domain": "wine"}, OptionError),
        ({"backend": "best"}, OptionError),
    ],
)
def test_options_that_are_none_are_refused(options, error):
    with pytest.raises(error):
        ChatRec(Overlap(), **options)


def test_what_the_model_lacks_is_named_at_once():
    class Labels(Double):
        @property
        def can(self):
            return frozenset({"label"})

    ChatRec(Labels())
    for options, instead in (
        ({"wording": "model"}, "template"),
        ({"summary": True}, "summary=False"),
        ({"backend": "list"}, "choice"),
    ):
        with pytest.raises(CapabilityError, match=instead):
            ChatRec(Labels(), **options)

    class Text(Double):
        @property
        def can(self):
            return frozenset({"text"})

    with pytest.raises(CapabilityError, match="rules"):
        ChatRec(Text(), backend="list", gate="model")


@pytest.mark.parametrize("options", [{"profile": ["nope"]}, {"facts": ["nope"]}, {"fields": ["nope"]}])
def test_fields_nobody_has_are_refused(options):
    with pytest.raises(OptionError, match="names 'nope', which .* lacks\n  -> it has "):
        ChatRec(open_lm("fake:overlap"), **options).fit(FILMS)


@pytest.mark.parametrize("slot", ["wanted", "unwanted"])
def test_a_state_with_a_word_for_a_field_of_numbers_still_gets_an_answer(slot):
    state = {"talk": {slot: [["year", "old"], ["genres", "horror"]]}}
    reply = method().converse([Dialogue((Message("user", "something to watch"),), state, USER)], Desk())[0]
    assert reply.items and all(("horror" in own) == (slot == "wanted") for own in genres(reply))


@pytest.mark.parametrize("shuffles", [float("nan"), float("inf"), "x", 2.5])
def test_agreement_takes_whole_numbers_of_shuffles(shuffles):
    with pytest.raises(OptionError, match="agreement"):
        method().agreement([Dialogue((Message("user", "a comedy"),), {}, USER)], Desk(), shuffles)
