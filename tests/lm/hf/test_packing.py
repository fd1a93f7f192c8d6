import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hexarec.lm.hf.packing import blocks, common, dense, groups, pack

SEQUENCES = st.lists(st.lists(st.integers(0, 3), max_size=9), max_size=30)


@given(SEQUENCES, st.integers(1, 12))
def test_a_path_spells_its_sequence_and_depth_counts_from_the_prefix(sequences, block):
    made = pack(sequences, block)
    for sequence, path in zip(sequences, made.paths, strict=True):
        assert made.tokens[path].tolist() == sequence
        assert made.depth[path].tolist() == list(range(len(sequence)))
        assert made.parent[path].tolist() == [-1, *path[:-1]][: len(path)]


@given(SEQUENCES, st.integers(1, 12))
def test_blocks_cover_every_node_once_and_keep_their_size(sequences, block):
    made = pack(sequences, block)
    limit = max(block, max((len(s) for s in sequences), default=0))
    assert np.all(np.diff(made.starts) <= limit) and np.all(np.diff(made.starts) > 0)
    assert made.starts[-1] == len(made.tokens)
    for start, stop in zip(made.starts, made.starts[1:], strict=False):
        above = made.parent[start:stop]
        assert np.all((above == -1) | (above >= start)), "a block needs nothing of another"


@given(SEQUENCES, st.integers(1, 12), st.integers(1, 4))
def test_blocks_say_the_same_as_the_dense_mask(sequences, block, prefix):
    made = pack(sequences, block)
    index, sees = blocks(made)
    n = len(made.tokens)
    found = np.zeros((n, n), bool)
    for nodes, square in zip(index, sees, strict=True):
        for place, node in enumerate(nodes):
            if place and node == nodes[0]:
                continue  # padding
            found[node, nodes[square[place]]] = True
    assert np.array_equal(found, dense(made, prefix)[prefix:, prefix:])
    assert dense(made, prefix)[prefix:, :prefix].all()
    assert sees.any(2).all(), "a row of scores without any key is NaN"


def test_equal_beginnings_are_one_node():
    made = pack([[1, 2, 3], [1, 2, 4], [1, 2, 3], [5]])
    assert len(made.tokens) == 5 and len(made.starts) == 2
    assert made.paths[0].tolist() == made.paths[2].tolist()


def test_a_full_block_repeats_a_beginning_rather_than_grow():
    made = pack([[1, 2, n] for n in range(10)], block=6)
    assert made.width <= 6
    assert len(made.tokens) == 10 + 2 * (len(made.starts) - 1)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=40), max_size=12), st.integers(1, 5))
def test_groups_hold_every_prompt_once_behind_its_own_beginning(rows, least):
    found = groups(rows, least)
    assert sorted(n for _, members in found for n in members) == list(range(len(rows)))
    for length, members in found:
        if len(members) == 1:
            assert length == len(rows[members[0]])
        else:
            assert length >= least
            assert all(rows[m][:length] == rows[members[0]][:length] and len(rows[m]) > length for m in members)


def test_a_shared_condition_is_read_once():
    condition = list(range(100, 200))
    rows = [[*condition, n, 7, 8] for n in range(20)] + [[*range(30, 60), 1]]
    found = sorted(groups(rows))
    assert [length for length, _ in found] == [31, 100]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)))
def test_common_is_the_longest_shared_beginning(one, other):
    n = common(one, other)
    assert one[:n] == other[:n] and (n in (len(one), len(other)) or one[n] != other[n])
