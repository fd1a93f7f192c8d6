"""Personal words stay on this machine: 1,000 planted ones, every byte that left searched."""

import time

import pytest

from hexarec.core.errors import ModelError
from hexarec.core.seeds import rng
from hexarec.lm import private
from hexarec.lm.base import Prompt
from hexarec.lm.endpoint import Endpoint, EndpointEncoder
from hexarec.lm.private import SWITCH, keep_private, outgoing, redacted

from .stub import serving

FULL = {ord(a): a if a == " " else chr(ord(a) + 0xFEE0) for a in map(chr, range(32, 127))}
ARABIC = {ord(str(i)): chr(0x660 + i) for i in range(10)}
FORMS = (
    lambda s, draw: s,
    lambda s, draw: s.translate(FULL),
    lambda s, draw: s.translate(ARABIC),
    lambda s, draw: "\u200b".join(s),
    lambda s, draw: s[:3] + "\u00ad\u2060" + s[3:],
    lambda s, draw: s.replace(".", "\uff0e").replace("@", "\ufe6b").replace("-", "\u2011").replace(" ", "\u00a0"),
    lambda s, draw: s.replace("-", "\u2212").replace(".", "\u3002"),
    lambda s, draw: s.upper(),
)
AROUND = ("my contact: {}", "{}", "({})", "I like films, write to {} about them.", "我的联系方式是{}，谢谢", "<{}>", "a\n{}\nb",
          "'{}'", "id={};", "see {}!", "x, {}, y", "| {} |")  # fmt: skip


def planted(n):
    """n texts with one personal string each, and the digits or letters that must not be found in what left."""
    draw = rng(0, "planted")
    for i in range(n):
        digits = "".join(str(d) for d in draw.integers(0, 10, 20))
        kind = i % 10
        if kind < 3:
            core = f"p{i}x{digits[:6]}"
            secret = (f"{core}@mail{i}.example", f"{core}.b+c@sub.mail.example.org", f"{core}_z@例子.example")[kind]
        elif kind < 6:
            core = "".join(str(1 + int(d) % 9) for d in digits[:10])
            secret = (
                f"+{core[:2]} {core[2:5]} {core[5:]}",
                f"({core[:3]}) {core[3:6]}-{core[6:]}",
                f"{core[:3]}-{core[3:6]}-{core[6:]}",
            )[kind - 3]
        elif kind == 6:
            core = f"1{3 + int(digits[0]) % 7}{digits[1:10]}"
            secret = core
        elif kind == 7:
            core = "4" + digits[:14]
            core += next(str(d) for d in range(10) if private._luhn(core + str(d)))
            secret = " ".join(core[at : at + 4] for at in range(0, 16, 4))
        elif kind == 8:
            octets = [1 + int(digits[at : at + 2]) for at in (0, 2, 4, 6)]
            secret = ".".join(map(str, octets))
            core = secret
        else:
            secret = f"2001:db8:{digits[:4]}::{int(digits[4:8]):x}:{int(digits[8:12]):x}"
            core = secret
        yield AROUND[i % len(AROUND)].format(FORMS[(i // 10) % len(FORMS)](secret, draw)), core


def plain(text):
    """A text as a reader sees it: plain letters and digits, nothing unseen."""
    return private._plain(text)[0].lower()


def bare(text):
    return "".join(one for one in plain(text) if one.isalnum())


def test_a_thousand_planted_strings(capsys):
    left = [text for text, core in planted(1_000) if bare(core) in bare(redacted(text))]
    kept = [text for text, _ in planted(1_000) if plain(text) == plain(redacted(text))]
    with capsys.disabled():
        print(f"\nplanted: {len(left)} of 1,000 left")
    assert left == [] and kept == []


@pytest.fixture
def remote(monkeypatch):
    """A server that counts as another machine: its address is none of those that are this one."""
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setattr(private, "HERE", frozenset())
    with serving() as running:
        yield running


def test_what_leaves_has_none_of_them(remote):
    texts = list(planted(60))
    lm, encoder = Endpoint(f"{remote.url}#ok"), EndpointEncoder(f"{remote.url}#ok", dim=3)
    lm.generate([Prompt.user(f"{text}", f"system {text}") for text, _ in texts])
    lm.generate([Prompt.plain(text) for text, _ in texts])
    [list(lm.stream(Prompt.user(text))) for text, _ in texts[:5]]
    try:
        encoder.encode([text for text, _ in texts])
    except ModelError:
        pass  # the stub may know no such model; it was asked
    sent = bare(repr(remote.asked))
    assert len(remote.asked) >= 120 and "emailcontact" not in sent and "contact" in sent
    assert [core for _, core in texts if bare(core) in sent] == []


def test_on_this_machine_and_with_the_switch_off_all_is_sent(monkeypatch):
    monkeypatch.setenv(SWITCH, "1")
    body = {"model": "m", "messages": [{"role": "user", "content": "a@b.example"}]}
    assert outgoing(body, "http://127.0.0.1:9/v1") == outgoing(body, "http://localhost/v1") == body
    for there in (
        "https://api.example/v1",
        "http://127.0.0.1.evil.example/v1",
        "http://10.0.0.1/v1",
        "http://127.0.0.2/v1",
    ):
        assert outgoing(body, there)["messages"] == [{"role": "user", "content": "[email]"}]
    monkeypatch.delenv(SWITCH)
    assert outgoing(body, "https://api.example/v1") == body
    keep_private()
    assert outgoing(body, "https://api.example/v1") != body


def test_it_fails_closed(remote, monkeypatch):
    monkeypatch.setattr(private, "redacted", lambda text: 1 / 0)
    with pytest.raises(ModelError, match="nothing was sent"):
        Endpoint(f"{remote.url}#ok").generate([Prompt.user("hello")])
    assert remote.asked == []


@pytest.mark.parametrize("text", [
    "Toy Story (1995)", "2024-01-02 03:04:05", "1. Heat (1995) 2. Alien (1979)", "i021, i022", "price 12.99 and 1,299",
    "at 12:30:45", "v1.2.3", "1 2 3 4 5 6 7 8 9 10 11 12", "[3, 14, 15]", "score 0.123456", "std::vector", "若干电影（1999年）",
    "Apollo 13", "2001: A Space Odyssey", "user@", "@home", "50% off", "8½", "",
])  # fmt: skip
def test_other_words_stay(text):
    assert redacted(text) == text


@pytest.mark.parametrize("text", ["1" * 100_000, "1 " * 50_000, "a" * 100_000, "a@" * 50_000, "(1)" * 40_000, ":a" * 50_000,
                                  "1.1." * 30_000, "a." * 50_000 + "@", "\u200b1" * 50_000, "+" * 100_000, "-" * 100_000])  # fmt: skip
def test_no_text_takes_long(text):
    started = time.thread_time()  # of the processor: other work on the machine does not count
    redacted(text)
    assert time.thread_time() - started < 3.0, "usual: 0.06; minutes if it grew with the square"
