import pytest
from hypothesis import given
from hypothesis import strategies as st

from hexarec.core.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\0b\r\x07\x7f\x9b", r"a\x00b\x0d\x07\x7f\x9b"),
        ("left\u202eright\u2066", r"left\u202eright\u2066"),
        ("half \ud83d", r"half \ud83d"),
        ("line\n\ttab 花样年华 é 😀", "line\n\ttab 花样年华 é 😀"),
    ],
)
def test_what_steers_a_screen_is_shown(text, shown):
    assert printable(text) == shown


@given(st.text())
def test_what_is_printed_can_be_encoded_and_is_clean(text):
    made = printable(text)
    made.encode("utf-8")
    assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in made) and printable(made) == made
