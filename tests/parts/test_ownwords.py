import hexarec
from hexarec.core import Dialogue, Message, ModelError, Words, run
from hexarec.lm.base import Completion
from hexarec.lm.fake import Double, Overlap
from hexarec.methods.chatrec import PROMPTS
from hexarec.parts.dialoguepage import DialoguePage
from hexarec.parts.known import Known
from hexarec.parts.lastturn import Acquaintance, Listener
from hexarec.parts.ownwords import OwnWords
from hexarec.parts.promptroom import Room
from hexarec.parts.turnprompt import TurnPrompts

FILMS = hexarec.open_data("films")
CATALOG = FILMS.catalog
PAGE = DialoguePage(PROMPTS, "film", 5, ("genres",))
PEOPLE = Acquaintance(Known(5).fit(FILMS), CATALOG.key, CATALOG.items.ids, CATALOG.titles)
FIXED = Words("Here:", status="template")


def turn(said):
    listener = Listener(Room(Overlap()), PAGE, PEOPLE, "rules")
    return listener.hear([Dialogue((Message("user", said),))], CATALOG)[0]


class Says(Double):
    def __init__(self, *pieces, then=None):
        super().__init__()
        self.pieces, self.then = pieces, then

    @property
    def can(self):
        return frozenset({"text"})

    def answer(self, prompt, within):
        return Completion("".join(self.pieces))

    def stream(self, prompt):
        yield from self.pieces
        if self.then:
            raise self.then


def opening(text, said="a comedy"):
    return OwnWords(TurnPrompts(Room(Says(text)), PAGE)).opening(turn(said), [3], FIXED)[1]


def talk(lm, said="hello"):
    events, told = [], []
    with run(emit=events.append, complain=told.append):
        words = OwnWords(TurnPrompts(Room(lm), PAGE)).talk(turn(said), 4, FIXED)[1]
    return words, [event for event in events if event["kind"] == "words"], told


def test_an_opening_is_shown_where_every_claim_holds():
    title = str(CATALOG.titles[3])
    assert opening(f"How about {title}?").text == f"How about {title}?"
    made = opening("All of it was made in 1801.")
    assert (made.text, made.status, made.answers) == ("Here:", "template", ("All of it was made in 1801.",))
    assert opening("").text == "Here:"


def test_an_opening_may_name_whom_the_dialogue_named_and_nobody_else():
    sentence = "Sarah will like this."
    assert opening(sentence).text == "Here:"
    assert opening(sentence, "something for Sarah and me").text == sentence


def test_talk_comes_in_pieces_and_is_kept_as_a_whole():
    words, events, told = talk(Says("Good ", "evening"))
    assert words.text == "Good evening" and words.answers == ("Good evening",) and not told
    assert [(event["text"], event["dialogue"], event["listed"]) for event in events] == [
        ("Good ", 4, False),
        ("evening", 4, False),
    ]


def test_a_stream_that_breaks_is_told_of_and_keeps_what_came():
    words, events, told = talk(Says("Good ", then=ModelError("gone")))
    assert words.text == "Good" and len(events) == 1 and "gone" in told[0]


def test_where_the_model_says_nothing_the_fixed_sentence_is_said():
    class Mute(Says):
        @property
        def can(self):
            return frozenset({"label"})

    for lm, said in ((Mute("x"), "hello"), (Says("x"), " "), (Says(), "hello")):
        words, events, _ = talk(lm, said)
        assert words == FIXED and [event["text"] for event in events] == ["Here:"]
