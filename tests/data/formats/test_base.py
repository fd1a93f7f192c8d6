from hexarec.data.formats.base import numbers


def test_numbers_takes_numbers_and_words_but_no_structures():
    assert [numbers(v) for v in (1, 2.5, "3", True, None, [1], {})] == ["1", "2.5", "3", None, None, None, None]
