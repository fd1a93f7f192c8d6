import math
import threading

import pytest

from hexarec.core import DataError, rng
from hexarec.serve.store.events import _newest
from hexarec.serve.store.rows import EventRow


def event(id, user="u", time=1.0, **rest):
    return EventRow(id, rest.pop("item", "i"), time, user=user, **rest)


def test_an_event_counts_once(shelf):
    assert shelf.add_events([event("a"), event("b")]) == ["new", "new"]
    assert shelf.add_events([event("b"), event("c"), event("a")]) == ["same", "new", "same"]
    assert shelf.count("events") == 3


def test_other_content_under_a_known_id_is_a_conflict_and_not_written(shelf):
    shelf.add_events([event("a", value=4.0)])
    for other in (event("a", value=5.0), event("a", time=2.0), event("a", user="v"), event("a", kind="view")):
        assert shelf.add_events([other]) == ["conflict"]
    assert [one.value for _, one in shelf.events()] == [4.0]


def test_an_id_twice_in_one_batch(shelf):
    assert shelf.add_events([event("a"), event("a"), event("a", time=2.0)]) == ["new", "same", "conflict"]
    assert shelf.count("events") == 1


def test_batches_sent_again_shuffled_and_overlapping_change_nothing(shelf):
    draws = rng(7, "duplicates")
    events = [event(f"e{n}", user=f"u{n % 7}", time=float(n % 13)) for n in range(300)]
    sent = []
    for start in range(0, 300, 20):
        batch = events[start : start + 35]
        sent += [batch] * int(draws.integers(1, 6))
    new = 0
    for place in draws.permutation(len(sent)):
        batch = [sent[place][k] for k in draws.permutation(len(sent[place]))]
        verdicts = shelf.add_events(batch)
        assert set(verdicts) <= {"new", "same"}
        new += verdicts.count("new")
    assert new == shelf.count("events") == 300
    assert {one.id for _, one in shelf.events(most=1000)} == {one.id for one in events}


def test_every_field_comes_back(shelf):
    full = EventRow("id ☃ 🦊", "物品", 12.25, "rate", "ü", "s", 3.5, "a 'text'; --\n\t🦊", "r-1", 3, "sim")
    shelf.add_events([full])
    assert shelf.events(source=None) == [(1, full)]
    assert shelf.events() == []


def test_nan_is_no_value(shelf):
    shelf.add_events([event("a", value=math.nan)])
    assert shelf.events()[0][1].value is None
    assert shelf.add_events([event("a", value=None)]) == ["same"]


def test_histories_are_the_newest_oldest_first(shelf):
    times = [5, 1, 4, 1, 3, 2]
    shelf.add_events([event(f"e{n}", time=float(time)) for n, time in enumerate(times)])
    shelf.add_events(
        [event("v1", user="v"), event("s1", user=None, session="s"), event("s2", user="u", session="s", time=0.0)]
    )
    found = shelf.histories(["u", "v", "nobody"], ["s"], most=4)
    assert [one.id for one in found["u"]] == ["e5", "e4", "e2", "e0"]
    assert [one.id for one in found["v"]] == ["v1"]
    assert [one.id for one in found["session:s"]] == ["s2", "s1"]
    assert set(found) == {"u", "v", "session:s"}
    assert [one.id for one in shelf.histories(["u"])["u"]] == ["s2", "e1", "e3", "e5", "e4", "e2", "e0"]
    assert shelf.histories(["u"])["u"] == shelf.histories(["u", "v"])["u"]
    assert shelf.histories([]) == {}


def test_simulated_events_stay_out_of_the_log(shelf):
    shelf.add_events([event("a"), event("b", source="sim")])
    assert [one.id for one in shelf.histories(["u"])["u"]] == ["a"]
    assert [one.id for one in shelf.histories(["u"], source=None)["u"]] == ["a", "b"]
    assert [one.id for one in shelf.histories(["u"], source="sim")["u"]] == ["b"]
    assert shelf.event_columns()["item"] == ["i"]


def test_columns_for_a_refit(shelf):
    shelf.add_events([event("a", kind="rate", value=2.0), event("b", user=None, session="s", time=3.0, item="j")])
    assert shelf.event_columns() == {
        "user": ["u", "session:s"], "item": ["i", "j"], "time": [1.0, 3.0], "kind": ["rate", "click"], "value": [2.0, None],
    }  # fmt: skip


def test_the_feed_goes_on_after_a_number(shelf):
    shelf.add_events([event(f"e{n}") for n in range(10)])
    first = shelf.events(most=4)
    assert [seq for seq, _ in first] == [1, 2, 3, 4]
    assert [one.id for _, one in shelf.events(after=first[-1][0])] == [f"e{n}" for n in range(4, 10)]


def test_a_follower_misses_nothing_while_others_write(shelf):
    def write(n):
        for k in range(20):
            shelf.add_events([event(f"{n}-{k}-{m}") for m in range(3)])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for one in threads:
        one.start()
    seen, after = [], 0
    while any(one.is_alive() for one in threads) or shelf.events(after):
        page = shelf.events(after, most=7)
        seen += [one.id for _, one in page]
        after = page[-1][0] if page else after
    assert len(seen) == len(set(seen)) == 240 == shelf.count("events")


def test_outcomes_of_requests(shelf):
    shelf.add_events(
        [event("a", request="r1", position=2), event("b", request="r2"), event("c"), event("d", request="r1")]
    )
    assert [one.id for one in shelf.outcomes(["r1", "r3", "r1"])] == ["a", "d"]
    assert shelf.outcomes([]) == []


BAD = {
    "empty id": event(""), "NUL": event("a\0b"), "long id": event("x" * 513), "long snowmen": event("☃" * 171),
    "half a pair": event("\ud800"), "no one": event("a", user=None), "kind": event("a", kind="stare"),
    "time": event("a", time=math.nan), "endless": event("a", value=math.inf), "item": event("a", item=""),
    "text": event("a", text="x\0"), "position": event("a", position=-1), "large": event("a", position=2**63),
    "10 kB": event("z" * 10_000), "a session's name": event("a", user="session:b"), "no text": event("a", item=7),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_what_cannot_be_kept_is_refused_whole(shelf, bad):
    with pytest.raises(DataError):
        shelf.add_events([event("good"), bad])
    assert shelf.count("events") == 0


@pytest.mark.parametrize(
    "id", ["🦊" * 128, "x" * 512, " ", "'; DROP TABLE events; --", "%s ? :x {}", "\u202eabc", "\n"]
)
def test_odd_ids_are_kept_as_they_are(shelf, id):
    odd = EventRow(id, id, 1.0, user=id, session=id, request=id)
    assert shelf.add_events([odd, odd]) == ["new", "same"]
    assert shelf.histories([id], [id]) == {id: [odd], f"session:{id}": [odd]}
    assert shelf.outcomes([id]) == [odd]


def test_many_at_once(shelf):
    events = [event(f"e{n}", user=f"u{n % 2500}") for n in range(5000)]
    assert shelf.add_events(events).count("new") == 5000
    assert shelf.add_events(events).count("same") == 5000
    assert sum(map(len, shelf.histories([f"u{n}" for n in range(2500)]).values())) == 5000


def test_tenants_do_not_see_each_other(shared, shelf):
    other = shared.of(shelf.tenant + "-other")
    shelf.add_events([event("a", request="r")])
    assert other.add_events([event("a", time=9.0)]) == ["new"]
    assert [one.time for one in other.histories(["u"])["u"]] == [9.0]
    assert other.outcomes(["r"]) == [] and len(other.events()) == 1


def test_a_long_history_beside_short_ones_is_read_from_its_end(tmp_path):
    """A statement that reads all of a long history takes a thousand times as long; ten is far from both."""
    from hexarec.serve.store.open import open_store

    store = open_store(tmp_path / "store.db")
    shelf = store.of("a")
    shelf.add_events([event(f"s{n}", user=f"u{n}") for n in range(20)])
    shelf.add_events([event(f"l{n}", user="long", time=float(n)) for n in range(20_000)])
    seen = []
    with store._reader.connect() as connection:  # the steps of SQLite's machine, which no other process slows down
        raw = connection.connection.driver_connection
        for users in (["u0", "u1"], ["u0", "long"]):
            steps = []
            raw.set_progress_handler(lambda steps=steps: steps.append(1), 10)
            values = {"tenant": "a", "most": 5, "source": "log", "before": 1e9, "who0": users[0], "who1": users[1]}
            connection.execute(_newest("user", False, 2), values).fetchall()
            raw.set_progress_handler(None, 0)
            seen.append(len(steps))
    assert seen[1] < 10 * seen[0] + 10
    assert [one.id for one in shelf.histories(["u0", "long"], most=2)["long"]] == ["l19998", "l19999"]
    store.close()


def test_postgresql_looks_up_known_ids_by_its_index_from_the_first_thousand_on(postgres):
    from sqlalchemy import event as listen

    from hexarec.serve.store.open import open_store

    store = open_store(postgres.create("planned"))
    shelf, sent = store.of("a"), []
    shelf.add_events([event(f"e{n}") for n in range(20_000)])
    listen.listen(store._writing, "before_cursor_execute", lambda *call: sent.append(call[2:4]))
    shelf.add_events([event(f"e{n}") for n in range(100)])
    words, values = next(one for one in sent if "events.digest" in one[0])
    with store._writing.connect() as connection:
        plan = "\n".join(row[0] for row in connection.exec_driver_sql("EXPLAIN " + words, values))
    assert "events_pkey" in plan and "id = ANY" in plan.split("Index Cond")[1].split("\n")[0]
    store.close()
