import numpy as np

from hexarec.data.health.findings import Finding, Health, finding, graded


def test_grades():
    assert [graded(x, 1, 2) for x in (0.9, 1, 2)] == ["ok", "warn", "bad"]
    assert finding("a", 0, "s", "mend", warn=1).mend == "" and finding("a", 1, "s", "mend", warn=1).mend == "mend"


def test_the_worst_level_counts_and_numbers_are_json():
    health = Health("d", (Finding("a", "ok", 1, "s"), Finding("b", "bad", np.nan, "s")), {})
    assert health.level == "bad" and health["b"].level == "bad" and health.as_dict()["findings"][1]["number"] is None
    assert Health("d", (), {}).level == "ok"
