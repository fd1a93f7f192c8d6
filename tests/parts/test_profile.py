from dataclasses import replace

import numpy as np

from hexarec.core import Queries
from hexarec.data.worlds import world
from hexarec.lm.base import Completion
from hexarec.lm.fake import Overlap, Scripted
from hexarec.parts.profile import Profile, counted

DATA = world("drift").data
QUERIES = world("drift").queries.take(slice(0, 3))
NOBODY = Queries.one(DATA.catalog)


def test_without_a_model_a_profile_counts_facts():
    made = Profile(fields=("genres",), most=2).write(QUERIES)
    for i, words in enumerate(made):
        counts = counted(QUERIES, np.array(QUERIES[i].items), ("genres",))
        assert words.text == f"Often: {counts[0][0]} ({counts[0][1]}), {counts[1][0]} ({counts[1][1]})."
        assert words.status == "template" and counts[0][1] == 7


def test_a_history_without_anything_says_so_in_the_readers_language():
    assert Profile().write(NOBODY)[0].text == "Nothing is known of this person yet."
    zh = replace(NOBODY, lang=np.array(["zh"], object))
    assert Profile(Overlap()).write(zh)[0].text == "目前对此人一无所知。" and Profile().write(zh)[0].lang == "zh"


def test_only_what_was_liked_lately_is_read():
    queries = QUERIES.with_history(replace(QUERIES.history, liked=np.arange(len(QUERIES.history.item)) % 10 > 7))
    prompts = []
    Profile(Scripted(lambda prompt: prompts.append(prompt.text) or "They like it."), last=1).write(queries)
    assert all(prompt.count("\n1. ") == 1 and "\n2. " not in prompt for prompt in prompts)
    assert DATA.catalog.titles[QUERIES[0].items[9]] in prompts[0]


def test_a_models_words_are_taken_on_one_line_and_a_failure_falls_back_to_facts():
    says = iter([Completion("They like\n\n robots. "), Completion("", "error", error="x"), Completion("")])
    made = Profile(Scripted(lambda prompt: next(says))).write(QUERIES)
    assert (made[0].text, made[0].status) == ("They like robots.", "ok")
    assert [words.status for words in made[1:]] == ["template", "template"] and made[1].text.startswith("Often: ")


def test_nobody_is_not_asked_about():
    def refuse(prompt):
        raise AssertionError("asked")

    class Strict(Overlap):
        def generate(self, prompts, within=None):
            return refuse(prompts)

    assert Profile(Strict()).write(NOBODY)[0].status == "template"
    assert Profile(Strict()).write(QUERIES.take(slice(0, 0))) == []


def test_counts_fall_and_equal_counts_are_alphabetical():
    made = counted(QUERIES, np.array([0, 6, 1, 2]), ("genres", "unknown"))
    assert made == [("ocean", 2), ("jazz", 1), ("robot", 1)]
