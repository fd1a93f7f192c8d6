import pytest

from hexarec.parts.phrases import phrases


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" in the mood for gore or zombies please", ("gore", "zombies")),
        (" thanks", ()),
        ("I want what you recommend", ()),
        ("要科幻片了", ("科幻",)),
        ("知道看什么", ()),
        ("", ()),
    ],
)
def test_a_clause_is_about_what_is_left_without_the_words_around_it(text, found):
    assert phrases(text) == found


def test_what_is_named_already_is_left_out():
    assert phrases("horror or zombies", [(0, 6)]) == ("zombies",)
