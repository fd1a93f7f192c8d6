import json

from hexarec.data.health import check
from hexarec.data.importer import import_data

from ..makers import log_of, write

ROWS = [(u, (u + t) % 9, 1_700_000_000 + 100 * t + u, 1 + t % 5) for u in range(12) for t in range(8)]


def test_a_whole_report(tmp_path):
    body = "".join(f"u{u},i{i},{t},{v}\n" for u, i, t, v in ROWS)
    write(tmp_path, "events.csv", "user,item,time,value\n" + body + "u1,,1,1\n")
    write(tmp_path, "items.csv", "item,title\n" + "".join(f"i{n},Name {n}\n" for n in range(8)))
    made = import_data(tmp_path)
    health = check(made.dataset, made.report)
    assert health["refused rows"].level == "warn" and "1 missing item" in health["refused rows"].sentence
    assert health["orphans"].number == 1 and health.counts["events"] == 96
    assert {"lorenz", "events per user", "events per item", "events over time", "text length"} == set(health.curves)
    told = json.loads(json.dumps(health.as_dict()))
    assert told["level"] == health.level and all(row["mend"] or row["level"] == "ok" for row in told["findings"])


def test_odd_data_sets_have_a_report_too():
    for data in (
        log_of([], 0, 0), log_of([], 3, 3), log_of([(0, 0, 5)], 1, 1), log_of([(0, 0, 5)] * 4, 1, 1),
        log_of([(0, 0, 1e17), (0, 1, 1e17), (0, 0, -1e17)], 2, 2), log_of([(0, 0, 5), (0, 1, 6)], 1, 2, clock=False),
    ):  # fmt: skip
        assert check(data).level in ("ok", "warn", "bad")
    assert check(log_of([], 3, 3)).level == "bad"
