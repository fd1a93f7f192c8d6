from hexarec.core import Card
from hexarec.pipeline.build import cards
from hexarec.pipeline.grid import PARADIGMS, grid


def test_every_method_stands_in_each_cell_it_serves():
    lines = grid().splitlines()
    heads = [one.strip() for one in lines[0].strip("|").split("|")]
    assert len(lines) == 2 + len(PARADIGMS) + 1
    body = {line.split("|")[1].strip(): [c.strip() for c in line.strip("|").split("|")] for line in lines[2:]}
    for card in cards().values():
        rows = [name for name in body if name.split()[0] in map(str, card.paradigms)] or ["baselines"]
        for stage in card.stages:
            for row in rows:
                assert f"`{card.name}`" in body[row][heads.index(stage)]
    assert all(line.count("|") == len(heads) + 1 for line in lines)


def test_stages_nobody_serves_and_combinators_are_left_out():
    one = Card("x", "m:X", "", "", ("rank",), paradigms=frozenset({4, 6}))
    made = grid([one, Card("fuse", "m:Y", "", "", ())])
    assert made.splitlines()[0] == "| paradigm | rank |" and made.count("`x`") == 2 and "fuse" not in made
