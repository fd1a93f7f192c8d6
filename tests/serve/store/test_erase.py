"""Export and erasure: everything, to the last byte, and it does not come back."""

import json
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from hexarec.core import StateError
from hexarec.serve.store.open import open_store
from hexarec.serve.store.rows import EventRow, ShownRow, UserRow

CANARIES = [f"canary{n:02d}-{n * 7919:x}物".encode() for n in range(12)]
C = [word.decode() for word in CANARIES]


def shown(request, **rest):
    return ShownRow(request, 5.0, "p", "greedy", ("i",), (1.0,), **rest)


def live(shelf, n=3):
    """A canary who uses everything, between others who do too."""
    for who in ("other", C[0], "another"):
        word = C.__getitem__ if who == C[0] else "plain{}".format
        shelf.put_users([UserRow(who, {"likes": word(1)})])
        shelf.add_events(
            [
                EventRow(
                    f"{word(2)}-{who}-{k}", word(3), float(k), user=who, session=f"{word(4)}{who}", text=word(5) * 40
                )
                for k in range(n)
            ]
        )
        shelf.add_events([EventRow(f"{word(2)}-anonymous-{who}", "i", 1.0, session=f"{word(4)}{who}")])
        shelf.add_events([EventRow(f"{word(2)}-joined-{who}", "i", 1.0, user=who, request=f"{word(7)}-joined-{who}")])
        shelf.log_shown_soon(
            [shown(f"{word(6)}-{who}", user=who), shown(f"{word(7)}-{who}", session=f"{word(4)}{who}")]
        ).result()
        shelf.log_shown_soon([shown(f"{word(7)}-joined-{who}")]).result()
        for request in (f"{word(6)}-{who}", f"{word(7)}-{who}"):
            shelf.keep_answer_soon(request, who if word(6) in request else None, 5.0, {"trace": word(8) * 20}).result()
        shelf.put_dialogue(f"{word(9)}-{who}", who, {"turns": [word(10) * 2000]})
        shelf.cache_soon(f"{word(11)}-{who}", word(11).encode() * 3, [who, f"session:{word(4)}{who}"]).result()
        shelf.assign("exp", who, "A"), shelf.assign("exp", f"session:{word(4)}{who}", "B")


def counts(shelf):
    return {
        name: shelf.count(name)
        for name in ("users", "events", "shown", "answers", "dialogues", "cache", "cache_owners", "assignments")
    }


EACH = {
    "users": 1,
    "events": 5,
    "shown": 3,
    "answers": 2,
    "dialogues": 1,
    "cache": 1,
    "cache_owners": 2,
    "assignments": 2,
}


def test_erasure_removes_every_row_of_one_user_and_none_of_others(shelf):
    live(shelf)
    assert counts(shelf) == {name: 3 * count for name, count in EACH.items()}
    assert shelf.erase_user(C[0]) == EACH
    assert counts(shelf) == {name: 2 * count for name, count in EACH.items()}
    assert shelf.erased(C[0]) and not shelf.erased("other")
    assert list(shelf.export_user(C[0])) == [] and len(list(shelf.export_user("other"))) == sum(EACH.values())
    assert shelf.erase_user("nobody") == dict.fromkeys(EACH, 0)


def test_answers_of_a_visit_go_with_who_it_was_though_no_list_was_logged(shelf, clock):
    shelf.add_events([EventRow("e1", "i", 1.0, user="u", session="theirs"), EventRow("e2", "i", 1.0, session="else")])
    for request, user, session in (
        ("by-event", None, "theirs"), ("alone", None, "else"), ("named", "u", "by-answer"), ("by-answer", None, "by-answer"),
        ("of-other", "other", "theirs"), ("nobody", None, None),
    ):  # fmt: skip
        shelf.keep_answer_soon(request, user, 5.0, {"of": request}, session=session).result()
    held = [row["request"] for row in shelf.export_user("u") if row["table"] == "answers"]
    assert sorted(held) == ["by-answer", "by-event", "named"]
    assert shelf.erase_user("u")["answers"] == 3
    left = [name for name in ("by-event", "alone", "named", "by-answer", "of-other", "nobody") if shelf.answer(name)]
    assert left == ["alone", "of-other", "nobody"]
    shelf.keep_answer_soon("late", None, clock.now - 1, {"of": "late"}, session="theirs").result()
    assert shelf.answer("late") is None


def test_answers_without_a_user_end(shelf):
    for request, user, time in (("old", None, 1.0), ("visit", None, 1.0), ("young", None, 9.0), ("theirs", "u", 1.0)):
        session = "s" if request == "visit" else None
        shelf.keep_answer_soon(request, user, time, {"of": request}, session=session).result()
    assert shelf.sweep_answers(5.0) == 2 and shelf.sweep_answers(5.0) == 0
    assert [shelf.answer(one) is None for one in ("old", "visit", "young", "theirs")] == [True, True, False, False]


def test_export_holds_everything_in_json(shelf):
    live(shelf)
    rows = list(shelf.export_user(C[0]))
    assert {name: sum(row["table"] == name for row in rows) for name in EACH} == EACH
    text = json.dumps(rows, ensure_ascii=False)
    assert [word for word in C[:11] if word not in text] == []
    assert "plain" not in text and "tenant" not in rows[0]
    assert [row["value"] for row in rows if row["table"] == "cache"] and len(shelf.events()) == 15


def test_old_events_of_an_erased_user_stay_away_new_ones_count(shelf, clock):
    live(shelf)
    old = [event for _, event in shelf.events() if event.user == C[0] or event.session == f"{C[4]}{C[0]}"]
    shelf.erase_user(C[0])
    assert shelf.add_events(old) == ["erased"] * len(old) == ["erased"] * 5
    assert shelf.add_events([EventRow("late", "i", clock.now - 0.1, user=C[0])]) == ["erased"]
    assert shelf.histories([C[0]], [f"{C[4]}{C[0]}"]) == {}
    assert (
        shelf.add_events([EventRow("fresh", "i", clock.now + 1, user=C[0]), EventRow("x", "i", 1.0, user="other")])
        == ["new"] * 2
    )
    shelf.log_shown_soon([shown("again", user=C[0]), shown("others", user="other")]).result()
    shelf.keep_answer_soon("again", C[0], 5.0, {}).result()
    shelf.cache_soon("again", b"x", [C[0]]).result()
    assert shelf.shown("again") is shelf.answer("again") is shelf.cached("again") is None and shelf.shown("others")
    with pytest.raises(StateError):
        shelf.put_dialogue(f"{C[9]}-{C[0]}", None, {})


def test_erasing_while_others_send_the_same_again(shelf):
    batch = [EventRow(f"e{n}", "i", float(n), user="u", session="s") for n in range(20)]
    shelf.add_events(batch)
    ended = threading.Event()

    def replay():
        while not ended.is_set():
            shelf.add_events(batch)
            shelf.log_shown_soon([shown("r", user="u")]).result()

    threads = [threading.Thread(target=replay) for _ in range(3)]
    for one in threads:
        one.start()
    shelf.erase_user("u")
    left = [counts(shelf)["events"] + counts(shelf)["shown"] for _ in range(5)]
    ended.set()
    for one in threads:
        one.join()
    assert left == [0] * 5 and not any(counts(shelf).values())


def test_pseudonyms_are_of_one_tenant_and_stay(shared, shelf):
    name = shelf.pseudonym("u")
    shelf.erase_user("u")
    assert shelf.pseudonym("u") == name != shared.of(shelf.tenant + "-other").pseudonym("u") and "u" not in name.split(
        "-"
    )


def bytes_with_canaries(folder):
    """How often a canary stands in the files of a folder, by file."""
    found = {}
    for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        data = file.read_bytes()
        hits = sum(data.count(word) for word in CANARIES)
        if hits:
            found[file.name] = hits
    return found


def copied(folder, to):
    """The files as another process sees them: to open and close them here would end SQLite's locks."""
    subprocess.run(["cp", "-r", folder, to], check=True)
    return to


@pytest.mark.parametrize("n", [3, 400])
def test_no_byte_of_an_erased_user_is_left_in_the_files(tmp_path, n):
    folder = tmp_path / "data"
    store = open_store(folder / "store.db")
    shelf = store.of("a")
    live(shelf, n)
    before = bytes_with_canaries(copied(folder, tmp_path / "before"))
    assert sum(before.values()) > 12 * 3
    shelf.erase_user(C[0])
    shelf.scrub()
    assert bytes_with_canaries(copied(folder, tmp_path / "after")) == {}
    shelf.add_events([EventRow("more", "i", 1.0, user="other")])
    store.close()
    assert bytes_with_canaries(folder) == {}
    assert [path.name for path in folder.iterdir()] == ["store.db"] and (
        folder / "store.db"
    ).stat().st_mode & 0o777 == 0o600


def test_no_byte_is_left_in_the_tables_of_postgresql(postgres):
    store = open_store(postgres.create("scrubbed"))
    live(store.of("a"), 40)
    with postgres.connect("scrubbed") as one:
        one.execute("ANALYZE")
        one.execute("CHECKPOINT")
        place = one.execute("SELECT pg_relation_filepath('events')").fetchone()[0]
        folder = Path(postgres.data) / Path(place).parent
        assert bytes_with_canaries(folder) != {}
        store.of("a").erase_user(C[0])
        store.of("a").scrub()
        one.execute("CHECKPOINT")
        assert bytes_with_canaries(folder) == {}
    store.close()


def test_a_restored_backup_is_erased_again(tmp_path):
    store = open_store(tmp_path / "store.db")
    live(store.of("a"))
    store.close()
    shutil.copy(tmp_path / "store.db", tmp_path / "backup.db")
    store = open_store(tmp_path / "store.db")
    store.of("a").erase_user(C[0])
    tombstones = store.of("a").tombstones()
    store.close()
    store = open_store(tmp_path / "backup.db")
    shelf = store.of("a")
    assert list(shelf.export_user(C[0])) != [] and not shelf.erased(C[0])
    old = [event for _, event in shelf.events() if event.user == C[0]]
    assert shelf.bury(tombstones) == EACH and shelf.bury(tombstones) == {}
    assert list(shelf.export_user(C[0])) == [] and shelf.erased(C[0]) and shelf.add_events(old) == ["erased"] * 4
    assert counts(shelf) == {name: 2 * count for name, count in EACH.items()} and shelf.tombstones() == tombstones
    store.close()


def test_a_restored_visit_and_dialogue_are_erased_again_though_their_user_is_unknown(shelf, clock):
    """What a backup holds from before somebody signed in; the tombstones come from later."""
    for who in ("theirs", "else"):
        shelf.add_events([EventRow(f"e-{who}", "i", 1.0, session=who, request=f"clicked-{who}")])
        shelf.add_events([EventRow(f"o-{who}", "i", 1.0, user="other", session=who)])
        shelf.log_shown_soon([shown(f"shown-{who}", session=who), shown(f"clicked-{who}")]).result()
        for request, session in ((f"shown-{who}", None), (f"clicked-{who}", None), (f"kept-{who}", who)):
            shelf.keep_answer_soon(request, None, 5.0, {}, session=session).result()
        shelf.put_dialogue(f"talk-{who}", None, {})
        shelf.cache_soon(f"key-{who}", b"x", [f"session:{who}"]).result()
        shelf.assign("exp", f"session:{who}", "A")
    shelf.cache_soon("key-rest", b"x", ["session:only-asked"]).result()
    before = counts(shelf)
    marks = [shelf._mark("user", "never seen"), *map(shelf.pseudonym, ("session:theirs", "session:only-asked")),
             shelf._mark("dialogue", "talk-theirs")]  # fmt: skip
    gone = {"events": 1, "shown": 2, "answers": 3, "dialogues": 1, "cache": 2, "cache_owners": 2, "assignments": 1}
    assert shelf.bury([(mark, clock.now) for mark in marks]) == gone
    assert counts(shelf) == {name: count - gone.get(name, 0) for name, count in before.items()}
    assert [event.id for _, event in shelf.events()] == ["o-theirs", "e-else", "o-else"]
    assert shelf.shown("shown-else") and shelf.shown("clicked-else") and shelf.answer("kept-else") is not None
    assert shelf.dialogue("talk-else") is not None and shelf.dialogue("talk-theirs") is None
    assert shelf.add_events([EventRow("e-theirs", "i", 1.0, session="theirs")]) == ["erased"]


def test_who_came_back_after_an_erasure_and_was_erased_again_stays_erased(shelf, clock):
    shelf.erase_user("u")
    clock.now += 10
    shelf.add_events([EventRow("back", "i", clock.now, user="u")])
    clock.now += 10
    assert shelf.bury([(shelf.pseudonym("u"), clock.now)])["events"] == 1
    assert shelf.tombstones() == [(shelf.pseudonym("u"), clock.now)]
    assert shelf.bury([(shelf.pseudonym("u"), clock.now - 5)]) == {}, "nor does an older tombstone replace it"
    assert shelf.tombstones() == [(shelf.pseudonym("u"), clock.now)]


def test_lists_that_a_visit_came_from_go_with_who_it_was(shelf):
    shelf.add_events([EventRow("e1", "i", 1.0, user="u", session="s")])
    shelf.add_events([EventRow("e2", "i", 1.0, session="s", request="clicked")])
    shelf.log_shown_soon([shown("clicked"), shown("other")]).result()
    assert "clicked" in [row.get("request") for row in shelf.export_user("u") if row["table"] == "shown"]
    assert shelf.erase_user("u")["shown"] == 1 and shelf.shown("clicked") is None and shelf.shown("other")
