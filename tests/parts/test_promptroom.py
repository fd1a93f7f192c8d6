import numpy as np
import pytest

from hexarec.core import ModelError, OptionError
from hexarec.core.errors import MissingExtraError
from hexarec.lm.fake import Overlap
from hexarec.parts.promptroom import FORMAT, Amount, Room, first_fitting, steps

FULL = Amount(turns=3, facts=2, past=2, profile=1, options=2, summary=1, slots=1, letters=100)


class Small(Overlap):
    window = 500


def test_parts_go_one_after_the_other_in_the_order_that_is_told():
    ladder = steps(FULL)
    gone = [next(iter(one.less(other))) for one, other in zip(ladder, ladder[1:], strict=False)]
    assert (
        gone
        == ["turns"] * 2 + ["facts"] * 2 + ["past"] * 2 + ["profile", "options", "summary", "slots"] + ["letters"] * 2
    )
    assert ladder[0] == FULL and ladder[-1] == Amount(turns=1, options=1, letters=25)


def test_what_was_cut_is_told_by_part():
    assert FULL.less(Amount(turns=1, facts=2, past=0, profile=1, options=2, summary=1, slots=1, letters=100)) == {
        "turns": 2,
        "past": 2,
    }


@pytest.mark.parametrize(("bound", "found"), [(9, 9), (3, 3), (0, 0), (-1, None)])
def test_the_largest_thing_that_fits_is_found(bound, found):
    assert first_fitting(list(range(9, -1, -1)), lambda one: one <= bound) == found


def test_the_longest_prompt_counts_with_its_chat_format():
    room = Room(Overlap(), hard=1000)
    assert room.size(["one two", "three"]) == FORMAT + 2 and room.size([]) == FORMAT
    assert room.fits(["a " * (1000 - FORMAT)]) and not room.fits(["a " * (1001 - FORMAT)])


def test_a_small_window_bounds_prompts_as_well():
    assert Room(Small()).most == 350 and Room(Overlap()).most == 1400


@pytest.mark.parametrize("bounds", [{"soft": 1401}, {"soft": 100, "hard": 150}, {"memory": 0}])
def test_bounds_that_are_none_are_refused(bounds):
    with pytest.raises(OptionError):
        Room(Overlap(), **bounds).check()
    Room(Overlap(), 200, 200, 1).check()


def test_the_format_of_a_real_engine_is_within_what_is_kept_for_it():
    from hexarec.lm.base import Prompt
    from hexarec.lm.open import open_lm

    try:
        lm = open_lm("gguf:smollm2")
    except (MissingExtraError, ModelError) as error:
        pytest.skip(f"no model: {error}")
    text = "你好 and good day, " * 20
    made = lm.generate([Prompt.user(text, max_tokens=1)])[0]
    assert 0 < made.tokens_in - int(np.sum(lm.count([text]))) <= FORMAT
