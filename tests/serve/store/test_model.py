"""Any sequence of calls gives what a few dictionaries give."""

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from hexarec.core import StateError
from hexarec.serve.store.rows import EventRow, ItemRow, UserRow

TENANTS = itertools.count(1)
IDS = st.sampled_from(["a", "b", "c", "é", "🦊", "物 1"])
USERS = st.sampled_from(["u", "v", "w"])


def event(id, item, time, **rest):
    """A row; of a named tuple all fields would be made up."""
    return EventRow(id, item, time, **rest)


ROWS = st.builds(
    event, st.sampled_from([f"e{n}" for n in range(12)]), IDS, st.sampled_from([0.0, 1.0, 5.0, 12.0, 15.0]), user=st.one_of(st.none(), USERS),
    session=st.sampled_from([None, "s", "t"]), value=st.sampled_from([None, 1.0]), source=st.sampled_from(["log", "log", "sim"]),
)  # fmt: skip
EVENTS = ROWS.filter(lambda one: one.user or one.session)


class Model(RuleBasedStateMachine):
    """One tenant beside what it should be. Time goes on by one second with every call."""

    store, clock = None, None

    def __init__(self):
        super().__init__()
        self.shelf = self.store.of(f"model{next(TENANTS)}")
        self.clock.now = 10.0
        self.log, self.buried, self.items, self.version, self.users = {}, {}, {}, 0, {}
        self.documents, self.active, self.audits = {}, {}, 0

    @rule(batch=st.lists(EVENTS, max_size=6))
    def add_events(self, batch):
        expected = []
        for event in batch:
            whose = ("user", event.user) if event.user else ("session", event.session)
            there = self.log.get(event.id)
            if there is not None:
                expected.append("same" if there == event else "conflict")
            elif event.time <= self.buried.get(whose, -1.0):
                expected.append("erased")
            else:
                expected.append("new")
                self.log[event.id] = event
        assert self.shelf.add_events(batch) == expected

    @rule(user=USERS)
    def erase(self, user):
        sessions = {one.session for one in self.log.values() if one.user == user and one.session}
        self.log = {
            id: one
            for id, one in self.log.items()
            if not (one.user == user or (one.user is None and one.session in sessions))
        }
        self.users.pop(user, None)
        self.buried |= {("user", user): self.clock.now, **{("session", one): self.clock.now for one in sessions}}
        self.shelf.erase_user(user)
        assert self.shelf.erased(user)

    @rule(items=st.lists(st.tuples(IDS, st.sampled_from(["x", "y"])), max_size=4))
    def put_items(self, items):
        last = dict(items)
        for id, title in last.items():
            if self.items.get(id, (None,))[0] != title:
                self.version += 1
                self.items[id] = (title, self.version)
        assert self.shelf.put_items([ItemRow(id, title) for id, title in items]) == self.version

    @rule(id=IDS)
    def delete_item(self, id):
        stands = self.items.get(id, (None,))[0] is not None
        if stands:
            self.version += 1
            self.items[id] = (None, self.version)
        assert self.shelf.delete_item(id) == stands

    @rule(user=USERS, value=st.integers(0, 2))
    def put_user(self, user, value):
        self.users[user] = {"n": value}
        self.shelf.put_users([UserRow(user, {"n": value})])

    @rule(name=IDS, activate=st.booleans())
    def put(self, name, activate):
        version = self.documents[name] = self.documents.get(name, 0) + 1
        if activate:
            self.active[name] = version
        assert self.shelf.put("prompt", name, {"v": version}, activate=activate).version == version

    @precondition(lambda self: self.documents)
    @rule(name=IDS, version=st.integers(1, 3))
    def activate(self, name, version):
        if version <= self.documents.get(name, 0):
            self.active[name] = version
            assert self.shelf.activate("prompt", name, version).active
        else:
            with pytest.raises(StateError):
                self.shelf.activate("prompt", name, version)

    @rule()
    def audit(self):
        self.audits += 1
        assert self.shelf.audit("k", "x", "y").seq == self.audits

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds):
        self.clock.now += seconds

    @invariant()
    def the_log_is_equal(self):
        real = [one for one in self.log.values() if one.source == "log"]
        assert {one.id: one for _, one in self.shelf.events(source=None)} == self.log
        assert [one for _, one in self.shelf.events()] == real
        for user, rows in self.shelf.histories(["u", "v", "w"], most=3).items():
            assert rows == sorted((one for one in real if one.user == user), key=lambda one: one.time)[-3:]
        for session in ("s", "t"):
            mine = sorted((one for one in real if one.session == session), key=lambda one: one.time)
            assert self.shelf.histories([], [session]).get(f"session:{session}", []) == mine

    @invariant()
    def the_rest_is_equal(self):
        rows = {row.id: (None if row.deleted else row.title, row.version) for row in self.shelf.items()}
        assert rows == self.items
        assert {row.id: row.attributes for row in self.shelf.users()} == self.users
        expected = {name: self.active.get(name, newest) for name, newest in self.documents.items()}
        assert {row.name: row.version for row in self.shelf.names("prompt")} == expected
        assert self.shelf.audit_check() is None and self.shelf.count("audit") == self.audits


def test_any_sequence_of_calls(shared, clock, backend):
    machine = type("Here", (Model,), {"store": shared, "clock": clock})
    often = settings(max_examples=8 if backend == "sqlite" else 4, stateful_step_count=15)
    run_state_machine_as_test(machine, settings=often)


@pytest.mark.slow
def test_many_sequences_of_calls(shared, clock):
    machine = type("Here", (Model,), {"store": shared, "clock": clock})
    run_state_machine_as_test(machine, settings=settings(max_examples=200, stateful_step_count=30))
