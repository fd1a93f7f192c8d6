"""Items, users, what was shown, documents, jobs, keys, audit: each on both databases."""

import threading

import pytest

from hexarec.core import DataError, OptionError, StateError
from hexarec.serve.store.rows import EventRow, ItemRow, KeyRow, ShownRow, UserRow


def test_items_get_growing_versions(shelf):
    full = ItemRow("b", "Título 物", "text", {"year": 1999, "tags": ["x", "物"]}, {"zh": "物"}, {"zh": "文"}, since=5.5)
    assert shelf.put_items([ItemRow("a", "A"), full]) == 2
    assert shelf.item("b").attributes == {"year": 1999, "tags": ["x", "物"]}
    assert [(one.id, one.version) for one in shelf.items()] == [("a", 1), ("b", 2)]
    assert shelf.put_items([ItemRow("a", "A2")]) == 3
    assert [(one.id, one.version) for one in shelf.items(after_version=1)] == [("b", 2), ("a", 3)]
    assert shelf.item("b") == ItemRow(**{**vars(full), "version": 2})


def test_an_equal_item_is_no_change(shelf):
    shelf.put_items([ItemRow("a", "A", attributes={"n": 1})])
    assert shelf.put_items([ItemRow("a", "A", attributes={"n": 1}, version=77)]) == 1
    assert shelf.put_items([]) == 1


def test_a_deleted_item_is_a_tombstone_until_it_comes_back(shelf):
    shelf.put_items([ItemRow("a", "A"), ItemRow("b", "B")])
    assert shelf.delete_item("a") and not shelf.delete_item("a") and not shelf.delete_item("x")
    assert shelf.item("a") is None and [one.id for one in shelf.find_items()] == ["b"]
    assert [(one.id, one.version, one.deleted) for one in shelf.items()] == [("b", 2, False), ("a", 3, True)]
    assert shelf.count("items") == 1
    assert shelf.put_items([ItemRow("a", "A")]) == 4 and shelf.item("a").deleted is False


def test_the_last_of_equal_items_holds(shelf):
    shelf.put_items([ItemRow("a", "first"), ItemRow("a", "last")])
    assert shelf.item("a").title == "last"


def test_pages_go_by_code_point(shelf):
    ids = ["B", "a", "Z", "é", "物", "🦊", "_", "10", "9"]
    shelf.put_items([ItemRow(id, "t") for id in ids])
    shelf.put_users([UserRow(id) for id in ids])
    for find in (shelf.find_items, shelf.users):
        seen, after = [], ""
        while page := find(after, 2):
            seen += [one.id for one in page]
            after = seen[-1]
        assert seen == sorted(ids)


def test_users(shelf):
    shelf.put_users([UserRow("u", {"age": 3}, "zh"), UserRow("v")])
    shelf.put_users([UserRow("v", {"likes": ["x"]})])
    assert shelf.user("u") == UserRow("u", {"age": 3}, "zh") and shelf.user("v").attributes == {"likes": ["x"]}
    assert shelf.user("x") is None and shelf.count("users") == 2


@pytest.mark.parametrize("bad", [{"n": float("nan")}, {"x": {1, 2}}, {"t": "\ud800"}, {1j: 2}], ids=str)
def test_what_json_cannot_say_is_refused(shelf, bad):
    with pytest.raises(DataError):
        shelf.put_users([UserRow("u", bad)])


def test_a_nul_inside_json_is_kept(shelf):
    shelf.put_users([UserRow("u", {"x": "a\0b"})])
    assert shelf.user("u").attributes == {"x": "a\0b"}


def shown(request, time=1.0, **rest):
    return ShownRow(request, time, rest.pop("pipeline", "p"), "greedy", ("a", "b"), (0.5, None), ("x", "y"), **rest)


def test_shown_lists(shelf):
    rows = [
        shown("r1", user="u"),
        shown("r2", 2.0, pipeline="q", session="s"),
        shown("r3", 3.0, experiment="e", arm="A", teams=("t", "t")),
    ]
    assert shelf.log_shown_soon(rows).result() is None
    shelf.log_shown_soon([shown("r1", 9.0)]).result()
    assert shelf.shown("r1") == rows[0] and shelf.shown("nothing") is None
    assert shelf.shown_between(1.0, 3.0) == rows[:2]
    assert shelf.shown_between(0.0, 9.0, pipeline="q") == [rows[1]] and shelf.shown_between(
        0.0, 9.0, experiment="e"
    ) == [rows[2]]
    assert shelf.shown_between(0.0, 9.0, most=1) == rows[:1]


def test_simulated_lists_are_asked_for_by_name(shelf):
    shelf.log_shown_soon([shown("r1", source="sim")]).result()
    assert shelf.shown_between(0, 9) == [] and len(shelf.shown_between(0, 9, source=None)) == 1


def test_answers_and_dialogues(shelf):
    shelf.keep_answer_soon("r", "u", 1.0, {"trace": [1, {"物": None}]}).result()
    assert shelf.answer("r") == {"trace": [1, {"物": None}]} and shelf.answer("x") is None
    shelf.keep_answer_soon("r", "u", 2.0, {}).result()
    assert shelf.answer("r") == {}
    shelf.put_dialogue("d", "u", {"turns": []})
    shelf.put_dialogue("d", "u", {"turns": ["hello"]})
    assert shelf.dialogue("d") == {"turns": ["hello"]} and shelf.dialogue("x") is None


def test_the_cache_keeps_bytes(shelf):
    shelf.cache_soon("k", b"\0\xff", ["u"]).result()
    shelf.cache_soon("k", b"2").result()
    assert shelf.cached("k") == b"2" and shelf.cached("x") is None


def test_the_cache_loses_what_was_not_used_for_longest(shelf, clock):
    for n in range(6):
        clock.now += 1.0
        shelf.cache_soon(f"k{n}", b"x" * 98, [f"u{n}"]).result()
    clock.now += 1.0
    shelf.cache_met_soon("k0", [], clock.now).result()
    shelf.cache_met_soon("gone", ["u"], clock.now).result()
    assert shelf.trim_cache_soon(600).result() == 0 and shelf.trim_cache_soon(350).result() == 3
    assert [n for n in range(6) if shelf.cached(f"k{n}")] == [0, 4, 5] and shelf.count("cache_owners") == 3
    assert shelf.trim_cache_soon(0).result() == 3 and shelf.count("cache_owners") == 0


def test_a_cached_answer_goes_with_any_of_its_owners(shelf, clock):
    shelf.cache_soon("two", b"x", ["u", "session:s"]).result()
    shelf.cache_soon("met", b"x", ["v"]).result()
    shelf.cache_soon("others", b"x", ["v", "w"]).result()
    shelf.cache_met_soon("met", ["u"], clock.now).result()
    assert [row["key"] for row in shelf.export_user("u") if row["table"] == "cache"] == ["met", "two"]
    removed = shelf.erase_user("u")
    assert removed["cache"] == 2 and shelf.cached("two") is shelf.cached("met") is None and shelf.cached("others")
    assert shelf.count("cache_owners") == 2


def test_what_was_asked_before_an_erasure_is_not_cached(shelf, clock):
    asked = clock.now - 1.0
    shelf.erase_user("u")
    shelf.cache_soon("k", b"x", ["v", "u"], asked).result()
    assert shelf.cached("k") is None
    shelf.cache_soon("k", b"x", ["v", "u"], clock.now + 1.0).result()
    assert shelf.cached("k") == b"x"
    shelf.cache_soon("m", b"x", ["v"]).result()
    shelf.cache_met_soon("m", ["u"], asked).result()
    assert [row["owner"] for row in shelf.export_user("u") if row["table"] == "cache_owners"] == ["u"]


def test_documents_have_versions_of_which_one_is_active(shelf):
    first = shelf.put("pipeline", "p", {"n": 1})
    assert (first.version, first.active, first.created) == (1, False, 1_000_000.0)
    assert shelf.get("pipeline", "p") == first
    second = shelf.put("pipeline", "p", {"n": 2}, activate=True)
    shelf.put("pipeline", "p", {"n": 3})
    assert shelf.get("pipeline", "p") == second and second.active
    assert shelf.activate("pipeline", "p", 1).version == 1
    assert [one.active for one in shelf.versions("pipeline", "p")] == [True, False, False]
    assert shelf.get("pipeline", "p", 3).body == {"n": 3} and shelf.get("pipeline", "p", 4) is None
    shelf.put("pipeline", "o", {}), shelf.put("prompt", "p", {"other": 1})
    assert [(one.name, one.version) for one in shelf.names("pipeline")] == [("o", 1), ("p", 1)]


def test_activating_what_is_not_there_changes_nothing(shelf):
    shelf.put("model", "m", {}, activate=True)
    with pytest.raises(StateError):
        shelf.activate("model", "m", 2)
    assert shelf.get("model", "m").active


def test_one_version_is_active_at_every_moment(shelf):
    shelf.put("model", "m", {"n": 1}, activate=True), shelf.put("model", "m", {"n": 2})
    ended = threading.Event()

    def swap():
        for n in range(20):
            shelf.activate("model", "m", 1 + n % 2)
        ended.set()

    thread = threading.Thread(target=swap)
    thread.start()
    while not ended.is_set():
        assert sum(one.active for one in shelf.versions("model", "m")) == 1
    thread.join()


def test_a_job_is_claimed_by_one_and_ends(shelf, clock):
    first, second = shelf.add_job("fit", {"n": 1}), shelf.add_job("embed", {})
    mine = shelf.claim_job("w1")
    assert (mine.id, mine.state, mine.worker, mine.attempts) == (first.id, "running", "w1", 1)
    assert shelf.claim_job("w2", kinds=["fit"]) is None
    clock.now += 5
    beaten = shelf.beat(first.id, "w1", phase="epoch", done=2, total=9)
    assert (beaten.phase, beaten.done, beaten.total, beaten.beat, beaten.cancel) == ("epoch", 2, 9, clock.now, False)
    with pytest.raises(StateError):
        shelf.beat(first.id, "w2")
    ended = shelf.end_job(first.id, "w1", state="done", result={"ok": True})
    assert (ended.state, ended.result, ended.ended) == ("done", {"ok": True}, clock.now)
    with pytest.raises(StateError):
        shelf.beat(first.id, "w1")
    assert shelf.claim_job("w2").id == second.id and shelf.claim_job("w2") is None
    assert [one.id for one in shelf.jobs()] == [second.id, first.id] and shelf.jobs(most=1)[0].id == second.id
    with pytest.raises(OptionError):
        shelf.end_job(second.id, "w2", state="lost")


def test_a_job_of_a_dead_worker_is_taken_over(shelf, clock):
    job = shelf.add_job("fit", {})
    shelf.claim_job("w1")
    clock.now += 50
    assert shelf.claim_job("w2") is None
    clock.now += 11
    taken = shelf.claim_job("w2")
    assert (taken.id, taken.worker, taken.attempts, taken.started) == (job.id, "w2", 2, 1_000_000.0)
    with pytest.raises(StateError):
        shelf.end_job(job.id, "w1", state="done")


def test_cancelling(shelf, clock):
    waiting, running, dead = (shelf.add_job("fit", {}) for _ in range(3))
    assert shelf.claim_job("w").id == waiting.id
    assert shelf.cancel_job(running.id).state == "cancelled"
    assert shelf.cancel_job(waiting.id).cancel and shelf.beat(waiting.id, "w").cancel
    assert shelf.claim_job("w").id == dead.id
    shelf.cancel_job(dead.id)
    clock.now += 100
    assert shelf.claim_job("w2") is None and shelf.job(dead.id).state == "cancelled"
    assert shelf.cancel_job("none") is None


def test_a_job_under_a_known_id(shelf):
    assert shelf.add_job("fit", {"n": 1}, id="x") == shelf.add_job("fit", {"n": 1}, id="x")
    with pytest.raises(DataError):
        shelf.add_job("fit", {"n": 2}, id="x")
    assert shelf.count("jobs") == 1


def test_many_workers_claim_each_job_once(shelf):
    ids = {shelf.add_job("fit", {}).id for _ in range(20)}
    claimed = []

    def work(name):
        while job := shelf.claim_job(name):
            claimed.append(job.id)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(claimed) == 20 and set(claimed) == ids


def test_the_log_of_a_job(shelf):
    assert [shelf.job_log("j", line) for line in ("one", "two", "three")] == [1, 2, 3]
    assert shelf.job_lines("j", after=1) == [(2, "two"), (3, "three")] and shelf.job_lines("k") == []


def test_keys(shared, shelf):
    key = KeyRow(
        f"k-{shelf.tenant}", "mine", "d" * 64, frozenset({"read", "write"}), 1.0, rate=5.0, burst=10, dollars=1.5
    )
    shelf.put_key(key)
    assert shelf.key(key.id) == key and shelf.keys() == [key] and shared.find_key(key.id) == (shelf.tenant, key)
    revoked = KeyRow(**{**vars(key), "revoked": 2.0})
    shelf.put_key(revoked)
    assert shelf.keys() == [revoked] and shared.find_key("none") is None
    with pytest.raises(DataError):
        shared.of(shelf.tenant + "-other").put_key(key)


def test_a_key_that_holds_once_is_used_by_one(shelf, clock):
    shelf.put_key(KeyRow("once", "", "d" * 64, frozenset({"link"}), clock.now, expires=clock.now + 10))
    got, threads = [], []
    for _ in range(8):
        threads.append(threading.Thread(target=lambda: got.append(shelf.use_key("once"))))
        threads[-1].start()
    for one in threads:
        one.join()
    assert sorted(got) == [False] * 7 + [True] and shelf.key("once").revoked == clock.now
    shelf.put_key(KeyRow("late", "", "d" * 64, frozenset({"link"}), clock.now, expires=clock.now + 10))
    clock.now += 10
    assert not shelf.use_key("late") and not shelf.use_key("nothing")


def test_ended_keys_of_one_scope_are_dropped(shelf, clock):
    ends = {"a": None, "b": clock.now - 1, "c": clock.now + 100}
    for id, end in ends.items():
        shelf.put_key(KeyRow(f"p{id}", "", "d" * 64, frozenset({"page"}), clock.now, expires=end))
        shelf.put_key(KeyRow(f"k{id}", "", "d" * 64, frozenset({"read"}), clock.now, expires=end))
    shelf.use_key("pc")
    assert shelf.drop_ended_keys("page") == 2 and shelf.drop_ended_keys("page") == 0
    assert sorted(row.id for row in shelf.keys()) == ["ka", "kb", "kc", "pa"]


def test_people_are_those_who_stated_or_did_something(shelf):
    shelf.put_users([UserRow(id) for id in ("ann", "bob", "an_other", "物1")])
    kinds = [("ann", None), ("anna", None), ("zoe", None), (None, "session")]
    shelf.add_events([
        EventRow(f"e{i}{k}", "item", 1.0 + k, user=user, session=session)
        for i, (user, session) in enumerate(kinds) for k in range(3)
    ])  # fmt: skip
    assert shelf.people() == ["an_other", "ann", "anna", "bob", "zoe", "物1"]
    assert shelf.people("ann") == ["ann", "anna"] and shelf.people("ann", 1) == ["ann"]
    assert shelf.people("物") == ["物1"] and shelf.people("x") == [] and shelf.people("%") == [] == shelf.people("_")
    assert shelf.people("an", 2) == ["an_other", "ann"]


def test_spending_adds_up(shelf):
    threads = [
        threading.Thread(
            target=lambda: [shelf.spend("k", "2026-11-26", calls=1, tokens=10, dollars=0.25) for _ in range(10)]
        )
        for _ in range(4)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert shelf.spent("k", "2026-11-26") == {"calls": 40, "tokens": 400, "dollars": 10.0}
    assert shelf.spent("k", "2026-11-27") == {"calls": 0, "tokens": 0, "dollars": 0.0}


def test_buckets(shelf):
    assert shelf.bucket("k") is None
    shelf.put_bucket("k", 3.5, 1.0), shelf.put_bucket("k", 2.5, 2.0)
    assert shelf.bucket("k") == (2.5, 2.0)


def test_the_first_arm_stays(shelf):
    assert (
        shelf.assign("e", "u", "A") == "A" and shelf.assign("e", "u", "B") == "A" and shelf.assign("e", "v", "B") == "B"
    )
    assert shelf.assignments("e") == [("u", "A"), ("v", "B")] and shelf.assignments("f") == []


def test_counting_what_is_not_there(shelf):
    with pytest.raises(OptionError):
        shelf.count("secrets")


LOOK = {
    "item": lambda shelf, id: shelf.item(id), "delete": lambda shelf, id: shelf.delete_item(id),
    "user": lambda shelf, id: shelf.user(id), "shown": lambda shelf, id: shelf.shown(id),
    "answer": lambda shelf, id: shelf.answer(id), "dialogue": lambda shelf, id: shelf.dialogue(id),
    "cached": lambda shelf, id: shelf.cached(id), "get": lambda shelf, id: shelf.get("model", id),
    "job": lambda shelf, id: shelf.job(id), "cancel": lambda shelf, id: shelf.cancel_job(id),
    "key": lambda shelf, id: shelf.key(id), "histories": lambda shelf, id: shelf.histories([id, "x"]),
    "history": lambda shelf, id: shelf.histories([], [id]), "outcomes": lambda shelf, id: shelf.outcomes([id]),
    "items": lambda shelf, id: shelf.find_items(id), "export": lambda shelf, id: list(shelf.export_user(id)),
    "people": lambda shelf, id: shelf.people(id), "use": lambda shelf, id: shelf.use_key(id),
    "erase": lambda shelf, id: shelf.erase_user(id), "erased": lambda shelf, id: shelf.erased(id),
    "assign": lambda shelf, id: shelf.assign("e", id, "A"), "pipeline": lambda shelf, id: shelf.shown_between(0, 1, pipeline=id),
}  # fmt: skip


@pytest.mark.parametrize("look", LOOK.values(), ids=LOOK)
@pytest.mark.parametrize("id", ["a\0b", "\ud800"], ids=["NUL", "half a pair"])
def test_looking_for_what_no_database_keeps_is_refused_alike(shelf, look, id):
    with pytest.raises(DataError):
        look(shelf, id)
    assert shelf.put_items([ItemRow("still", "works")]) == 1


@pytest.mark.parametrize(
    "look", [LOOK[name] for name in ("item", "user", "answer", "job", "key", "cached", "outcomes")]
)
def test_looking_for_what_is_too_long_finds_nothing(shelf, look):
    assert not look(shelf, "x" * 10_000)


@pytest.mark.parametrize("name", ["", "A", "a b", "x" * 65, "a/..", "ä", "a\n"])
def test_names_of_tenants(shared, name):
    with pytest.raises(OptionError):
        shared.of(name)


def test_tenants_are_those_that_wrote(shared, shelf):
    assert shelf.tenant not in shared.tenants()
    shelf.put_users([UserRow("u")])
    assert shelf.tenant in shared.tenants()


def test_a_job_given_back_waits_as_if_nobody_had_had_it(shelf, clock):
    job = shelf.add_job("fit", {})
    shelf.claim_job("w1")
    with pytest.raises(StateError):
        shelf.give_back_job(job.id, "w2")
    beaten = shelf.beat(job.id, "w1", phase="epoch", done=1, total=2, since=clock.now - 3)
    assert beaten.since == clock.now - 3
    given = shelf.give_back_job(job.id, "w1")
    assert (given.state, given.worker, given.attempts) == ("waiting", None, 0)
    assert shelf.claim_job("w2").attempts == 1
    shelf.cancel_job(job.id)
    assert shelf.give_back_job(job.id, "w2").state == "cancelled" and shelf.claim_job("w3") is None
