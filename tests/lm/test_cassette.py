import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hanging import LONG, Hang

from hexarec.core.errors import CancelledError, DeadlineError, OptionError, RetryableModelError, StateError
from hexarec.core.run import Cancel, run
from hexarec.lm.base import Choice, Completion, JsonSchema, LanguageModel, Prompt, canonical_hash
from hexarec.lm.cassette import Cassette, keeping
from hexarec.lm.fake import Overlap, Scripted
from hexarec.lm.guard import Guarded
from hexarec.lm.later import Later
from hexarec.lm.overheard import KIND
from hexarec.lm.overheard import heard as overheard
from hexarec.lm.tape import open_tape
from hexarec.lm.tiny import Tiny


class Counted(Overlap):
    def __init__(self):
        super().__init__()
        self.asked = 0

    def answer(self, prompt, within):
        self.asked += 1
        return super().answer(prompt, within)


def prompts(n):
    return [Prompt.user(f"- Alien {row}\n[A] Alien\n[B] Love {row}") for row in range(n)]


@pytest.fixture(params=["tape.jsonl", "tape.sqlite"])
def path(request, tmp_path):
    return tmp_path / "deep" / request.param


def test_a_recorded_run_replays_without_the_model(path):
    asked = prompts(4)
    within = JsonSchema({"type": "object", "properties": {"x": {"type": "string"}}})
    real = Overlap()
    first = Cassette(real, path)
    assert isinstance(first, LanguageModel)
    made = first.generate(asked), first.generate(asked, within), first.label(asked, ["A", "B"])
    scored = first.score(asked, [["a", "b"]] * 4)

    class Dead(Overlap):
        def generate(self, prompts, within=None):
            raise AssertionError("asked")

        label = score = generate

    again = Cassette(Dead(), path, "replay")
    assert again.generate(asked) == made[0] and again.generate(asked, within) == made[1]
    assert np.array_equal(again.label(asked, ["A", "B"]), made[2])
    for a, b in zip(again.score(asked, [["a", "b"]] * 4), scored, strict=True):
        assert np.array_equal(a.logprobs, b.logprobs) and np.array_equal(a.tokens, b.tokens)
        assert a.logprobs.dtype == np.float32 and a.tokens.dtype == np.int32
    assert "".join(again.stream(asked[0])) == made[0][0].text
    with pytest.raises(StateError, match="never seen"):
        again.generate([Prompt.user("never seen before")])


def test_numbers_come_back_to_the_last_bit(path):
    tiny = Tiny("bits")
    asked = [Prompt.plain("ab"), Prompt.plain("xyz")]
    first = Cassette(tiny, path)
    fresh = first.label(asked, ["a", "b"]), first.hidden(asked), first.score(asked, [["q"], ["rs"]])
    again = Cassette(tiny, path, "replay")
    assert np.array_equal(again.label(asked, ["a", "b"]), fresh[0])
    assert np.array_equal(again.hidden(asked), fresh[1])
    assert again.score(asked, [["q"], ["rs"]])[1].logprobs == fresh[2][1].logprobs


def test_replay_names_the_first_80_characters(path):
    Cassette(Overlap(), path).generate(prompts(1))
    long = "x" * 79 + "yz"
    with pytest.raises(StateError) as caught:
        Cassette(Overlap(), path, "replay").generate([Prompt.user(long)])
    assert "x" * 79 + "y" in str(caught.value) and "yz" not in str(caught.value)


def test_modes(path):
    with pytest.raises(StateError, match="no cassette"):
        Cassette(Overlap(), path, "replay")
    inner = Counted()
    Cassette(inner, path).generate(prompts(2))
    Cassette(inner, path).generate(prompts(2))
    assert inner.asked == 2
    Cassette(inner, path, "record").generate(prompts(2))
    assert inner.asked == 4
    with pytest.raises(StateError, match="refused"):
        Cassette(inner, path, "refuse").generate(prompts(2))
    with pytest.raises(OptionError):
        Cassette(inner, path, "loud")
    assert inner.asked == 4


def test_keys_know_seed_sample_constraint_call_and_tenant():
    inner = Counted()
    tape = Cassette(inner)
    tape.generate(prompts(1))
    assert inner.asked == 1
    for prompt, within in [
        (Prompt.user(prompts(1)[0].text, seed=1), None),
        (Prompt.user(prompts(1)[0].text, temperature=0.5), None),
        (prompts(1)[0], Choice(("A", "B"))),
    ]:
        before = inner.asked
        tape.generate([prompt], within)
        tape.generate([prompt], within)
        assert inner.asked == before + 1
    with run(tenant="other"):
        before = inner.asked
        tape.generate(prompts(1))
        assert inner.asked == before + 1


@pytest.mark.parametrize("finish", ["error", "refused"])
def test_bad_answers_are_not_kept(path, finish):
    bad = Cassette(Scripted(lambda _: Completion("", finish)), path)
    assert bad.generate(prompts(1))[0].finish == finish
    good = Cassette(Scripted(lambda _: "fine"), path)
    assert good.generate(prompts(1))[0].text == "fine"


def test_rows_of_nan_are_not_kept():
    class Nan(Overlap):
        def label(self, prompts, labels):
            return np.array([[np.nan, np.nan], [np.nan, -np.inf], [-1.5, np.nan]], np.float32)[: len(prompts)]

    tape = Cassette(Nan())
    first = tape.label(prompts(3), ["A", "B"])
    assert tape.misses == 3
    again = tape.label(prompts(3), ["A", "B"])
    assert tape.misses == 5 and np.array_equal(first[2], again[2], equal_nan=True)


def test_equal_requests_of_a_batch_are_asked_once():
    inner = Counted()
    tape = Cassette(inner)
    made = tape.generate([*prompts(2), *prompts(3), prompts(1)[0]])
    assert inner.asked == 3 and made[0] == made[2] == made[5] and tape.hits == 3


def test_equal_requests_of_two_threads_are_asked_once():
    class Slow(Counted):
        def generate(self, prompts, within=None):
            time.sleep(0.05)
            return super().generate(prompts, within)

    inner = Slow()
    tape = Cassette(inner)
    answers = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(tape.generate(prompts(6)[n % 3 : n % 3 + 3])))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert len(answers) == 8 and inner.asked == 5


def test_a_thread_whose_neighbour_failed_asks_itself():
    started = threading.Event()

    class Once(Counted):
        failing = True

        def generate(self, prompts, within=None):
            if self.failing:
                self.failing = False
                started.set()
                time.sleep(0.1)
                raise RuntimeError("lost")
            return super().generate(prompts, within)

    tape = Cassette(Once())
    failures = []

    def first():
        try:
            tape.generate(prompts(1))
        except RuntimeError as error:
            failures.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    started.wait(LONG)
    assert tape.generate(prompts(1))[0].good
    thread.join(LONG)
    assert len(failures) == 1


@given(st.binary(max_size=40))
def test_an_unfinished_last_line_is_ignored(tmp_path_factory, rubbish):
    path = tmp_path_factory.mktemp("tape") / "t.jsonl"
    Cassette(Overlap(), path).generate(prompts(2))
    with open(path, "ab") as file:
        file.write(b'{"key": "' + rubbish.replace(b"\n", b""))
    inner = Counted()
    tape = Cassette(inner, path)
    tape.generate(prompts(3))
    assert inner.asked == 1 and tape.tape.damaged == 1
    assert len(Cassette(Counted(), path, "replay").generate(prompts(3))) == 3


def test_damaged_lines_are_asked_again(tmp_path):
    path = tmp_path / "t.jsonl"
    Cassette(Overlap(), path).generate(prompts(3))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\xff\x00 nonsense\n[1]\n" + lines[2])
    inner = Counted()
    tape = Cassette(inner, path)
    assert tape.generate(prompts(3)) == Overlap().generate(prompts(3))
    assert inner.asked == 1 and tape.tape.damaged == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.sqlite", b"this is no database, whatever its name says" * 100),
        ("t.jsonl", b'{"user": "a", "item": "b"}\n' * 3),
        ("t.jsonl", b'{"user": "a", "item": "b"}'),
    ],
)
def test_a_file_that_is_no_cassette_is_refused_and_left_alone(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    for mode in ("cache", "record", "replay"):
        with pytest.raises(StateError, match="not a cassette"):
            Cassette(Overlap(), path, mode)
    assert path.read_bytes() == content


def test_a_folder_is_no_cassette(tmp_path):
    for name in ("t.sqlite", "t.jsonl"):
        (tmp_path / name).mkdir()
        with pytest.raises(StateError, match="not a cassette"):
            Cassette(Overlap(), tmp_path / name)


@pytest.mark.parametrize("content", [b'{"key": "half', b"\xff\n", b'{"key": 1}\n', b"", b"[" * 9999 + b"\n"])
def test_a_damaged_file_is_a_cassette_that_lost_its_answers(tmp_path, content):
    (tmp_path / "t.jsonl").write_bytes(content)
    assert Cassette(Overlap(), tmp_path / "t.jsonl").generate(prompts(1))[0].good


SCRIPT = """
import sys
from hexarec.lm.base import Prompt
from hexarec.lm.cassette import Cassette, keeping
from hexarec.lm.fake import Overlap
tape = Cassette(Overlap(), sys.argv[1])
for row in range(100000):
    tape.generate([Prompt.user(f"- Alien {row}\\n[A] Alien\\n[B] Love {row}")])
    print(row, flush=True)
"""


def test_what_was_answered_survives_a_kill(path):
    source = Path(__file__).parents[2] / "src"
    command = [sys.executable, "-c", SCRIPT, str(path)]
    path.parent.mkdir(parents=True)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(source)}
    )
    seen = 0
    for line in process.stdout:
        seen = int(line) + 1
        if seen >= 50:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    again = Cassette(Overlap(), path, "replay")
    assert again.generate(prompts(seen)) == Overlap().generate(prompts(seen))


@settings(max_examples=20)
@given(
    st.sampled_from(["cache", "record"]),
    st.sampled_from(["good", "failed", "raises"]),
    st.floats(0, 0.02),
    st.booleans(),
)
def test_any_interleaving_of_two_equal_requests_is_one_call(mode, fate, lag, two_tenants):
    """The second request comes while the first is on its way; another tenant's is another request."""
    arrived, release = threading.Event(), threading.Event()

    class Slow(Counted):
        def generate(self, prompts, within=None):
            self.asked += 1
            arrived.set()
            release.wait(LONG)
            if fate == "raises":
                raise RetryableModelError("down")
            return [Completion("x") if fate == "good" else Completion("", "error", error="no")] * len(prompts)

    inner = Slow()
    tape, heard = Cassette(inner, None, mode), []

    def ask(tenant):
        with run(tenant=tenant):
            try:
                heard.append(tape.generate(prompts(1))[0])
            except RetryableModelError as error:
                heard.append(str(error))

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("one", "two" if two_tenants else "one")]
    threads[0].start()
    arrived.wait(LONG)
    threads[1].start()
    while tape.hits + tape.misses < 2:
        time.sleep(0.001)
    time.sleep(lag)
    release.set()
    for thread in threads:
        thread.join(LONG)
    assert inner.asked == (2 if two_tenants else 1) and len(heard) == 2 and heard[0] == heard[1]


def test_who_waits_for_anothers_request_keeps_to_the_own_deadline_and_cancel():
    class Slow(Counted):
        def generate(self, prompts, within=None):
            slow()
            return super().generate(prompts, within)

    with Hang() as slow:
        tape = Cassette(Slow())
        first = threading.Thread(target=tape.generate, args=(prompts(1),))
        first.start()
        slow.met.wait(LONG)
        with run(seconds=0.1), pytest.raises(DeadlineError):
            tape.generate(prompts(1))
        cancel = Cancel()
        threading.Timer(0.05, cancel.set).start()
        with run(cancel=cancel), pytest.raises(CancelledError):
            tape.generate(prompts(1))
        assert not slow.came_back
    first.join(LONG)


def test_a_cache_keeps_only_what_its_reader_can_use_and_a_recording_keeps_all(path):
    def judge(prompt, made):
        return "0" not in prompt.text

    with keeping(judge):
        cache = Cassette(Counted(), path)
        made = cache.generate(prompts(2)), cache.label(prompts(2), ["A", "B"])
    again = Cassette(Counted(), path, "replay")
    assert again.generate(prompts(2)[1:]) == made[0][1:] and np.array_equal(
        again.label(prompts(2)[1:], ["A", "B"]), made[1][1:]
    )
    for call in (lambda: again.generate(prompts(1)), lambda: again.label(prompts(1), ["A", "B"])):
        with pytest.raises(StateError):
            call()
    with keeping(judge):
        Cassette(Overlap(), path, "record").generate(prompts(2))
    assert Cassette(Overlap(), path, "replay").generate(prompts(2)) == made[0]


def test_a_damaged_page_of_a_database_costs_its_answers_only(tmp_path):
    path = tmp_path / "t.sqlite"
    Cassette(Overlap(), path).generate(prompts(200))
    data = bytearray(path.read_bytes())
    for place in range(3 * 4096, len(data) - 4096, 4096):
        data[place : place + 2000] = b"\xff" * 2000
    path.write_bytes(data)
    inner = Counted()
    tape = Cassette(inner, path)
    assert tape.generate(prompts(200)) == Overlap().generate(prompts(200)) and inner.asked > 0


class Told(Counted):
    """Says what decides its answers beside the prompt."""

    def __init__(self, weights):
        super().__init__()
        self.weights_of = weights

    def identity(self, prompt):
        return f"{self.weights_of} {prompt.adapter}"


@pytest.mark.parametrize("wrap", [lambda lm: lm, Guarded, lambda lm: Guarded(Cassette(lm))])
def test_keys_know_the_weights_where_the_engine_tells_them(path, wrap):
    one, other = Told("float32"), Told("int8")
    Cassette(wrap(one), path).generate(prompts(2))
    Cassette(wrap(other), path).generate(prompts(2))
    assert one.asked == other.asked == 2, "numbers of other weights are not replayed"
    again = Told("float32")
    Cassette(wrap(again), path).generate(prompts(2))
    assert again.asked == 0
    tape = Cassette(one, path)
    one.weights_of = "tuned again"
    tape.generate(prompts(2))
    assert one.asked == 4


def test_recordings_of_engines_that_tell_nothing_keep_their_keys(path):
    asked = prompts(1)[0]
    kept = {"text": "as recorded", "finish": "stop", "tokens": [1, 2, 0]}
    open_tape(path, writable=True).put(canonical_hash(["fake:overlap", "generate", asked.digest(), "", ""]), kept)
    for lm in (Overlap(), Guarded(Overlap()), Later("fake:overlap", can=Overlap().can)):
        assert Cassette(lm, path, "replay").generate([asked])[0].text == "as recorded"


def test_a_finished_stream_is_kept_as_the_answer_it_is(path):
    asked, other = Prompt.user("x", max_tokens=4), Scripted(lambda _: "another answer")
    tape = Cassette(Scripted(lambda _: "three short words"), path)
    assert "".join(tape.stream(asked)) == "three short words" and tape.misses == 1
    assert "".join(tape.stream(asked)) == "three short words" and tape.hits == 1
    for mode in ("cache", "replay"):
        made = Cassette(other, path, mode).generate([asked])[0]
        assert made == Completion("three short words", "stop", 1, 3), mode
    long = Prompt.user("y", max_tokens=3)
    list(tape.stream(long))
    assert Cassette(other, path, "replay").generate([long])[0].finish == "length"
    pieces = tape.stream(Prompt.user("broken off"))
    next(pieces)
    pieces.close()
    with pytest.raises(StateError):
        Cassette(other, path, "replay").generate([Prompt.user("broken off")])


def test_a_stream_is_judged_as_any_answer_by_whom_it_was_asked_for():
    inner = Counted()
    tape = Cassette(inner)
    with keeping(lambda prompt, made: isinstance(made, Completion) and "1" in prompt.text):
        pieces = [tape.stream(prompt) for prompt in prompts(2)]
    for own in pieces:  # read where the judge is gone
        list(own)
    tape.generate(prompts(2))
    assert inner.asked == 3, "one was of use and stayed, the other is asked again"


@pytest.mark.parametrize("empty", ["", " \n"])
def test_an_empty_answer_is_recorded_and_not_cached(path, empty):
    silent = Scripted(lambda _: empty)
    tape = Cassette(silent, path)
    tape.generate(prompts(1))
    list(tape.stream(prompts(1)[0]))
    assert tape.misses == 2
    Cassette(silent, path, "record").generate(prompts(1))
    assert Cassette(Scripted(lambda _: "words"), path, "replay").generate(prompts(1))[0].text == empty


def test_json_that_the_length_limit_cut_is_not_kept():
    schema = JsonSchema({"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]})
    said = ['{"x": "cut of', '{"x": "whole"}']
    tape = Cassette(Scripted(lambda _: Completion(said[0], "length")))
    made = tape.generate(prompts(1), schema)[0]
    assert made.finish == "length" and not made.good and made.text == said[0] and "cut" in made.error
    said.pop(0)
    assert tape.generate(prompts(1), schema)[0].text == said[0] and tape.misses == 2
    assert tape.generate(prompts(1), schema)[0].good and tape.misses == 2, "whole JSON at the limit is of use"


def test_who_listens_hears_of_kept_answers_too():
    heard, lm = [], Cassette(Guarded(Overlap()))
    prompts = [Prompt.user("Rank. [A] one [B] two"), Prompt.user("Rank. [A] three [B] two")]
    for _ in range(2):
        with run(emit=lambda event: heard.append(event) if event.get("kind") == KIND else None):
            lm.generate(prompts)
            lm.label(prompts[:1], ["yes", "no"])
            lm.score(prompts[:1], [["one", "two"]])
    first, again = heard[:3], heard[3:]
    assert [one["call"] for one in first] == [one["call"] for one in again] == ["generate", "label", "score"]
    for one, two in zip(first, again, strict=True):
        told = [overheard(event, 9) for event in (one, two)]
        assert told[0] and [(a.prompt, a.answer) for a in told[0]] == [(b.prompt, b.answer) for b in told[1]]
    assert lm.hits == 4
