from hypothesis import given
from hypothesis import strategies as st

from hexarec.lm.reading import overlap, read, tokens, words


def test_lines_are_sorted_into_history_options_and_question():
    page = read("You rank films.\n1. Alien (1979)\n- Love\n\nCandidates:\n[A] One\n[12] Two [x]\nYes or no?")
    assert page.history == ("Alien (1979)", "Love")
    assert page.handles == ("A", "12") and page.options == ("One", "Two [x]")
    assert page.question == "You rank films.\nCandidates:\nYes or no?" and page.asks_yes_no


def test_without_list_lines_what_comes_before_is_history():
    assert read("I liked Alien.\n[A] One").history == ("I liked Alien.",)
    page = read("I liked Alien.\nWhat next?")
    assert page.history == ("I liked Alien.",) and page.question == "What next?"


def test_words_are_telling_and_chinese_is_by_character():
    assert tokens("The Alien of 电影") == ["alien", "电", "影"]
    assert words("b a b c") == ["b", "c"]
    assert overlap(["Alien film"], "Alien love") == 0.5 and overlap([], "") == 0.0


@given(st.text(), st.text())
def test_overlap_is_a_share(one, two):
    assert 0.0 <= overlap([one], two) <= 1.0
    read(one)
