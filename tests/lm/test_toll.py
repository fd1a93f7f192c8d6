import threading

import numpy as np
import pytest
from tests.hanging import LONG

from hexarec.core.errors import DeadlineError
from hexarec.core.run import Budget, run
from hexarec.lm.base import Prompt, Turn
from hexarec.lm.toll import FORMAT, Need, Toll, alone

TWO = [Prompt.plain("long words"), Prompt(turns=(Turn("system", "红"), Turn("user", "b")))]


def need(out=7):
    texts = [*(prompt.text for prompt in TWO), "more"]
    return Need.of(TWO, texts, np.array([2, 3, 1], np.int32), out)


def test_what_is_likely_and_what_is_the_most():
    toll = Toll()
    assert (need().requests, need().out, toll.likely(need())) == (2, 7, 6)
    around = FORMAT * (1 + 3)  # one for each turn, one for each answer's opening
    assert toll.most(need()) == 10 + 6 + 4 + around, "bytes of UTF-8: a Chinese letter is three"
    assert toll.likely(Need(4)) == toll.most(Need(4)) == 0


def test_the_largest_ratio_is_kept_each_text_by_itself():
    toll = Toll()
    toll.learn(0, need())
    assert not toll.proven and toll.factor == 1.0
    for used in (24, 12, 24, 3):  # 4 times, twice, half of what was guessed
        toll.learn(used, need())
    assert toll.proven and toll.factor == 4.0 and toll.likely(need()) == 24
    assert toll.most(need()) == 10 + 12 + 4 + FORMAT * 4, "what was seen where it is more than the bytes"
    toll.learn(5, Need(1))
    assert toll.factor == 4.0, "what was not guessed teaches nothing"


def other_budget(met):
    with run(seconds=LONG / 2, budget=Budget(tokens=1)), alone():
        met.append(True)


def test_one_at_a_time_is_alone_under_a_budget_and_nested_runs_share_it():
    with run(budget=Budget(tokens=10)):
        with alone(), run(seconds=0.1, budget=Budget(cost=1.0)), pytest.raises(DeadlineError), alone():
            pass
        met = []
        with alone():
            thread = threading.Thread(target=other_budget, args=(met,))
            thread.start()
            thread.join(LONG)
        assert met, "another budget has a turn of its own"
        with alone():
            pass
