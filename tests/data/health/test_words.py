from dataclasses import replace

import numpy as np
import pytest

from hexarec.core import strings
from hexarec.data.health import words

from ..makers import log_of

DATA = log_of([(0, 0, 1)], 1, 4)


def found(titles, texts=("", "", "", ""), data=DATA):
    catalog = replace(data.catalog, titles=strings(titles), texts=strings(texts))
    return {one.name: one for one in words.findings(replace(data, catalog=catalog))}


def test_coverage_and_same_titles():
    made = found(["A", "a", "", "B"])
    assert made["titles"].number == 0.25 and made["same titles"].number == 1 and made["texts"].level == "warn"


def test_scripts():
    made = found(["流浪地球", "英雄", "ليل", "Up"])
    assert made["scripts"].level == "warn" and "Han 50.0%" in made["scripts"].sentence


@pytest.mark.parametrize(
    ("text", "hit"),
    [("write to ann@example.org", 1), ("call +1 555 123 4567", 1), ("(030) 1234 5678", 1), ("ISBN 9780439023481", 0),
     ("2010-12-01 08:26:00", 0), ("from 1990 to 2000", 0), ("a @ b", 0)],
)  # fmt: skip
def test_personal_data(text, hit):
    assert found(["A", "B", "C", "D"], [text, "", "", ""])["personal data in items"].number == hit


def test_words_of_events_and_other_languages():
    log = replace(DATA.interactions, text=strings(["mail me: x@y.de"]))
    catalog = replace(DATA.catalog, text={("title", "zh"): strings(["一", None, None, None])})
    made = {one.name: one for one in words.findings(replace(DATA, interactions=log, catalog=catalog))}
    assert made["personal data in events"].level == "warn" and made["title in zh"].number == 0.25
    assert np.isfinite(made["titles"].number)
