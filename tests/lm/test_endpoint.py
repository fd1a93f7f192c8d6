import math

import numpy as np
import pytest

from hexarec.core.errors import CapabilityError, ModelError, RetryableModelError
from hexarec.core.run import run
from hexarec.lm.base import Choice, Completion, Encoder, JsonSchema, LanguageModel, Prompt
from hexarec.lm.endpoint import Endpoint, EndpointEncoder
from hexarec.lm.guard import Guarded

from .stub import serving

ALL = frozenset({"text", "json", "choice", "label"})
SCHEMA = JsonSchema({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


def lm(server, model="ok", **options):
    return Endpoint(f"{server.url}#{model}", **{"can": ALL, "timeout": 5.0, **options})


def prompts(n):
    return [Prompt.user(f"word {row}", max_tokens=9) for row in range(n)]


def test_answers_keep_their_order_with_many_in_flight(server):
    server.most = 0
    engine = lm(server, "slow", workers=6)
    assert isinstance(engine, LanguageModel) and engine.spec == f"openai:{server.url}#slow"
    with run() as work:
        made = engine.generate(prompts(12))
    assert [m.text for m in made] == [f"echo word {row}" for row in range(12)]
    assert 2 <= server.most <= 6
    assert work.ledger.calls == 12 and work.ledger.tokens_in == 84 and work.ledger.tokens_cached == 24
    assert made[0].tokens_out == 3 and made[0].finish == "stop"


def test_what_is_sent(server):
    prompt = Prompt.user("q", "s", seed=2**40 + 5, temperature=0.7, top_p=0.9, max_tokens=4, stop=("\n",))
    lm(server).generate([prompt])
    path, body, _ = server.asked[-1]
    assert path == "/v1/chat/completions" and body["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
    ]
    assert (body["temperature"], body["top_p"], body["max_tokens"], body["stop"]) == (0.7, 0.9, 4, ["\n"])
    assert body["seed"] == (2**40 + 5) % 2**31
    assert lm(server).generate([Prompt.plain("raw text")])[0].text == "echo raw text"
    assert server.asked[-1][0] == "/v1/completions"


def test_refusals_and_lengths(server):
    assert lm(server, "prude").generate(prompts(1))[0].finish == "refused"
    assert lm(server, "filter").generate(prompts(1))[0].finish == "refused"
    assert lm(server).generate([Prompt.user("x", max_tokens=2)])[0].finish == "length"


def test_json_and_choices(server):
    assert lm(server).generate(prompts(1), SCHEMA)[0].text == '{"a": "word"}'
    assert server.asked[-1][1]["response_format"]["json_schema"]["schema"] == dict(SCHEMA.schema)
    within = Choice(('"B" 电影', "A"))
    assert lm(server).generate(prompts(1), within)[0].text == '"B" 电影'
    assert lm(server, choice="guided").generate(prompts(1), within)[0].text == "A"
    for constraint in (SCHEMA, within):
        made = lm(server, "rebel").generate(prompts(1), constraint)[0]
        assert made.finish == "error" and not made.retryable and "constraint" in made.error
    cut = lm(server, "rebel").generate([Prompt.user("x", max_tokens=2)], SCHEMA)[0]
    assert (cut.text, cut.finish) == ("echo x", "length") and not cut.good and "cut" in cut.error


@pytest.mark.parametrize("kind", ["429", "500", "html", "nochoices", "oddchoices", "nocontent", "reset", "errorbody"])
def test_passing_faults_fail_their_rows(server, kind):
    made = lm(server, kind).generate(prompts(2))
    assert all(m.finish == "error" and m.retryable and m.error for m in made)
    assert made[0].retry_after == (3.0 if kind in ("429", "500") else 0.0)


def test_a_bad_prompt_fails_alone_and_a_bad_key_fails_all(server):
    made = lm(server, "400").generate(prompts(2))
    assert all(m.finish == "error" and not m.retryable for m in made)
    with pytest.raises(ModelError, match="OPENAI_API_KEY"):
        lm(server, "401").generate(prompts(2))


def test_odd_text_and_counts_are_survived(server):
    made = lm(server, "surrogate").generate(prompts(1))[0]
    assert made.text == "a?b" and made.tokens_in == 0


@pytest.mark.parametrize("make", [Prompt.user, Prompt.plain])
def test_labels_add_up_their_forms(server, make):
    odds = lm(server).label([make("x")], ["Yes", "No", "Never"])
    assert odds.shape == (1, 3) and odds.dtype == np.float32
    assert odds[0, 0] == pytest.approx(math.log(math.exp(-0.5) + math.exp(-2.0)), abs=1e-5)
    assert odds[0, 1] == pytest.approx(-1.5) and math.isnan(odds[0, 2])


def test_words_count_in_any_case_and_letters_in_theirs(server, monkeypatch):
    heard = [("yes", -1.0), (" YES", -2.0), ("a", -0.5), (" A", -3.0), ("NO", -4.0), ("Y", -0.1)]
    engine = lm(server)
    monkeypatch.setattr(engine, "first_tokens", lambda prompt: heard)
    odds = engine.label(prompts(1), ["Yes", " no ", "A", "B"])[0]
    assert odds[:3] == pytest.approx([math.log(math.exp(-1.0) + math.exp(-2.0)), -4.0, -3.0], abs=1e-5)
    assert math.isnan(odds[3]) and engine.missing == 1
    apart = engine.label(prompts(1), ["yes", "YES"])[0]
    assert apart == pytest.approx([-1.0, -2.0]), "labels that differ in case only are told apart"


@pytest.mark.parametrize("backend", ["pointwise", "choice"])
def test_a_label_the_server_leaves_out_is_missing_in_the_parse_report(server, monkeypatch, backend):
    from tests.parts.test_ask import question

    from hexarec.parts.ask import Ask

    engine = lm(server)
    monkeypatch.setattr(engine, "first_tokens", lambda prompt: [("Maybe", -0.1)])
    asked = Ask(backend)(engine, [question()])[0]
    assert asked.report.missing == asked.report.requested == 5 and asked.report.invalid_format == 1
    assert asked.report.matched == 0 and "0 of 5" in asked.fault, "no answer is not an answer of one half"
    both = {
        "pointwise": [("Yes", -0.1), ("no", -3.0)],
        "choice": [(letter, -1.0 - n) for n, letter in enumerate("ABCDE")],
    }
    monkeypatch.setattr(engine, "first_tokens", lambda prompt: both[backend])
    assert Ask(backend)(engine, [question()])[0].report.matched == 5


def test_missing_labels_are_counted(server):
    for kind in ("mute", "nan", "html", "400"):
        engine = lm(server, kind)
        if kind == "html":
            with pytest.raises(RetryableModelError):
                engine.label(prompts(2), ["Yes", "No"])
        else:
            assert np.isnan(engine.label(prompts(2), ["Yes", "No"])).all() and engine.missing == 4
    assert lm(server).label([], ["Yes"]).shape == (0, 1)


def test_streams(server):
    assert list(lm(server).stream(prompts(1)[0])) == ["one ", "two ", "three"]
    assert "".join(lm(server).stream(Prompt.plain("x"))) == "echo x"
    for kind in ("choke", "500", "hang"):
        with pytest.raises(ModelError):
            list(lm(server, kind, timeout=0.5).stream(prompts(1)[0]))


def test_what_was_not_probed_is_not_promised(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HEXAREC_MODELS", str(tmp_path))
    engine = Endpoint(f"{server.url}#ok")
    assert engine.can == {"text"}
    with pytest.raises(CapabilityError, match="models test"):
        engine.generate(prompts(1), SCHEMA)
    with pytest.raises(CapabilityError, match="models test"):
        engine.label(prompts(1), ["A"])
    with pytest.raises(CapabilityError):
        engine.score(prompts(1), [["a"]])


def test_guarded_retries_the_server(server):
    clock = iter(range(10_000))
    guarded = Guarded(lm(server, "503"), sleep=lambda _: next(clock))
    before = len(server.asked)
    made = guarded.generate(prompts(5))
    assert all(m.retryable for m in made) and len(server.asked) - before == 6


def test_embeddings_come_in_order_and_unit_length(server):
    encoder = EndpointEncoder(f"{server.url}#embed", batch=2)
    assert isinstance(encoder, Encoder) and encoder.dim == 3
    rows = encoder.encode(["a", "bbb", "", "cc", "a"])
    assert rows.shape == (5, 3) and np.allclose(np.linalg.norm(rows, axis=1), 1) and rows.dtype == np.float32
    assert np.allclose(rows[0], rows[4]) and rows[1, 0] > rows[3, 0] > rows[0, 0]
    assert encoder.encode([]).shape == (0, 3)
    for kind in ("short", "html", "401"):
        with pytest.raises(ModelError):
            EndpointEncoder(f"{server.url}#{kind}").encode(["a", "b"])
    with pytest.raises(ModelError, match="other length"):
        EndpointEncoder(f"{server.url}#embed", dim=4).encode(["a"])


@pytest.mark.parametrize("within", [SCHEMA, Choice(("A", "B"))])
def test_an_answer_nested_without_end_is_a_wrong_answer_not_a_crash(server, within):
    deep = Completion("[" * 100_000, "stop")
    assert lm(server)._kept(deep, within).finish == "error"
