from dataclasses import FrozenInstanceError

import pytest

from hexarec.core import Answer, Claim, Degraded, Dialogue, Evidence, Lists, Message, Reasons, Reply, Span, Step, Words


@pytest.mark.parametrize("value", [
    Words("a"), Span(0, 1), Claim("c"), Evidence("history"), Reasons(()), Message("user", "hi"), Dialogue(()),
    Reply(Words("a")), Step("rank", "X", 1, 1, 0.0), Degraded("rank", "X", "why"), Answer(Lists.empty("k", 0)),
])  # fmt: skip
def test_what_is_said_is_never_changed_afterwards(value):
    name = next(iter(vars(value)))
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, None)


def test_defaults_say_nothing_that_was_not_checked_or_done():
    assert Words("a").status == "ok" and Words("a").lang == "en" and Claim("c").verdict == "unchecked"
    assert Answer(Lists.empty("k", 0)).degraded == () and Step("a", "b", 0, 0, 0.0).status == "ok"
    assert Reply(Words("a")).act == "chat" and Reply(Words("a")).items == ()


def test_equal_words_are_equal_and_can_be_counted():
    assert len({Words("a"), Words("a"), Words("b"), Claim("c"), Claim("c"), Evidence("history", (1,))}) == 4
