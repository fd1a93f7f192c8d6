import inspect

import pytest

from hexarec.core import errors
from hexarec.core.errors import (
    BudgetError,
    DataError,
    HexarecError,
    MissingExtraError,
    ModelError,
    OptionError,
    RetryableModelError,
)


def test_every_error_is_a_hexarec_error_and_says_in_words_what_it_is():
    found = [one for _, one in inspect.getmembers(errors, inspect.isclass)]
    assert len(found) > 10 and all(issubclass(one, HexarecError) and one.__doc__ for one in found)


def test_the_hint_stands_on_a_line_of_its_own():
    error = OptionError("no such option", hint="use another")
    assert str(error) == "no such option\n  -> use another"
    assert (error.message, error.hint) == ("no such option", "use another")
    assert str(OptionError("short")) == "short"


@pytest.mark.parametrize(("place", "text"), [
    ({"file": "a.csv", "line": 3, "field": "time"}, "a.csv:3:time: bad"), ({"line": 0}, "0: bad"), ({}, "bad"),
])  # fmt: skip
def test_a_data_error_names_its_place(place, text):
    error = DataError("bad", **place)
    assert str(error) == text and error.line == place.get("line")


def test_a_missing_package_names_the_extra_that_brings_it():
    assert str(MissingExtraError("torch", "train")).endswith('pip install "hexarec[train]"')


def test_only_failures_that_may_pass_are_retryable():
    assert RetryableModelError("busy").retryable and isinstance(RetryableModelError("busy"), ModelError)
    assert not ModelError("gone").retryable and not BudgetError("spent").retryable
