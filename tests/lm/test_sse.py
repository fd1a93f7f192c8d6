from hypothesis import given
from hypothesis import strategies as st

from hexarec.lm.sse import events, lines

STREAM = (
    b": comment\n\ndata: 1\n\nevent: execute\ndata: evil\n\nevent: message\r\ndata: 2\r\n\r\n"
    b"id: 7\nretry: 1\ndata:3\ndata: 4\n\ndata: [DONE]\n\ndata: cut"
)


def cut(data, places):
    edges = sorted({0, len(data), *(place % len(data) for place in places)})
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False)]


@given(st.lists(st.integers(0, 10_000)))
def test_events_do_not_depend_on_how_the_bytes_arrive(places):
    assert list(events(cut(STREAM, places))) == [b"1", b"2", b"3\n4", b"[DONE]"]


@given(st.lists(st.binary(max_size=20)))
def test_any_bytes_are_read(pieces):
    assert all(b"\n" not in line for line in lines(pieces))
    list(events(pieces))
