"""A store with a row or more in every table, and what it must hold after any upgrade."""

from hexarec.serve.store.rows import EventRow, ItemRow, KeyRow, ShownRow, UserRow

EVENTS = [
    EventRow("e1", "i1", 1.5, "rate", "ü", "s1", 4.5, "物 'quoted'", "r1", 2),
    EventRow("e2", "i2", 2.5, user=None, session="s1", source="sim"),
    EventRow("e3", "i2", 3.5, user="🦊"),
]
ITEMS = [ItemRow("i1", "Title 物", "text", {"year": 1999}, {"zh": "物"}, {"zh": "文"}, 5.5), ItemRow("i2", "Gone")]
USERS = [UserRow("ü", {"likes": ["x"]}, "zh"), UserRow("erased")]
SHOWN = ShownRow("r1", 1.0, "p", "greedy", ("i1", "i2"), (0.5, None), ("a", "b"), "ü", "s1", "exp", "A", ("t", "t"))
KEY = KeyRow("key", "mine", "d" * 64, frozenset({"read", "write"}), 1.0, 9.0, None, 5.0, 10, 100, 1000, 1.5)


def fill(store):
    shelf = store.of("tenant-1")
    shelf.add_events([*EVENTS, EventRow("e4", "i1", 1.0, user="erased")])
    shelf.put_items(ITEMS), shelf.delete_item("i2"), shelf.put_users(USERS)
    shelf.log_shown_soon([SHOWN]).result(), shelf.keep_answer_soon("r1", "ü", 1.0, {"trace": ["物"]}).result()
    shelf.put_dialogue("d1", "ü", {"turns": ["hello"]}), shelf.cache_soon("c1", b"\x00\xff", ["ü"]).result()
    for n in range(3):
        shelf.put("pipeline", "p", {"n": n}, activate=n == 1)
    shelf.add_job("fit", {"epochs": 3}, id="j1"), shelf.claim_job("w1"), shelf.job_log("j1", "began")
    (
        shelf.put_key(KEY),
        shelf.spend("key", "2026-11-26", calls=1, tokens=2, dollars=0.5),
        shelf.put_bucket("key", 3.5, 2.0),
    )
    for n in range(3):
        shelf.audit("key", "did", str(n))
    shelf.assign("exp", "ü", "A"), shelf.erase_user("erased")
    store.of("tenant-2").add_events([EventRow("e1", "other", 9.0, user="ü")])


def check(store):
    shelf = store.of("tenant-1")
    assert [row for _, row in shelf.events(source=None)] == EVENTS
    assert shelf.histories(["ü", "🦊"], ["s1"], source=None) == {
        "ü": EVENTS[:1],
        "🦊": EVENTS[2:],
        "session:s1": EVENTS[:2],
    }
    assert shelf.item("i1") == ItemRow(**{**vars(ITEMS[0]), "version": 1})
    assert [(row.id, row.version, row.deleted) for row in shelf.items()] == [("i1", 1, False), ("i2", 3, True)]
    assert shelf.users() == USERS[:1] and shelf.shown("r1") == SHOWN and shelf.answer("r1") == {"trace": ["物"]}
    assert shelf.dialogue("d1") == {"turns": ["hello"]}
    assert [(row.version, row.active, row.body) for row in shelf.versions("pipeline", "p")] == [
        (1, False, {"n": 0}), (2, True, {"n": 1}), (3, False, {"n": 2}),
    ]  # fmt: skip
    job = shelf.job("j1")
    assert (job.state, job.worker, job.args, job.attempts) == ("running", "w1", {"epochs": 3}, 1)
    assert (
        shelf.job_lines("j1") == [(1, "began")] and shelf.keys() == [KEY] and store.find_key("key") == ("tenant-1", KEY)
    )
    assert shelf.spent("key", "2026-11-26") == {"calls": 1, "tokens": 2, "dollars": 0.5} and shelf.bucket("key") == (
        3.5,
        2.0,
    )
    assert [row.target for row in shelf.audit_rows()] == ["0", "1", "2"] and shelf.audit_check() is None
    assert shelf.assignments("exp") == [("ü", "A")]
    assert shelf.erased("erased") and not shelf.erased("ü")
    assert shelf.add_events([EventRow("e4", "i1", 1.0, user="erased"), EVENTS[0]]) == ["erased", "same"]
    assert store.tenants() == ["tenant-1", "tenant-2"] and store.of("tenant-2").events()[0][1].item == "other"
