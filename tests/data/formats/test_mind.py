import numpy as np

from hexarec.data.importer import import_data
from hexarec.data.split import global_time

from ..makers import sequence, write

BEHAVIOURS = (
    "1\tU1\t11/11/2019 9:05:58 AM\tN1 N2\tN3-1 N4-0\n"
    "2\tU2\t11/12/2019 6:11:30 PM\t\tN1-0 N9-1 N1-0\n"
    "3\tU1\t11/13/2019 8:00:00 AM\tN1 N2\tN5-0\n"
    "4\tU3\tlong ago\tN1\tN5-1\n"
    "5\tU3\t11/13/2019 8:00:00 AM\tN1\tnothing\n"
)
NEWS = "".join(f'N{i}\tsports\tgolf\tThe "best" {i}\tAbstract {i}\thttp://x\t[]\t[]\n' for i in range(1, 6))


def test_impressions_become_exposures_and_histories_clicks(tmp_path):
    write(tmp_path / "m", "behaviors.tsv", BEHAVIOURS)
    write(tmp_path / "m", "news.tsv", NEWS)
    made = import_data(tmp_path / "m")
    data, shown = made.dataset, made.dataset.exposures
    assert made.report.format == "mind" and made.report.rejected["not a list of id-0 and id-1"] == 1
    assert made.report.rejected["time cannot be read"] == 1
    assert sequence(data, "U1") == ["N1", "N2", "N3"] and sequence(data, "U2") == ["N9"]
    assert data.catalog["N1"].title == 'The "best" 1' and data.catalog["N9"].title == "" and made.report.orphans == 1
    assert len(shown) == 3 and shown.source == "log"
    first = shown.shown[0]
    assert data.catalog.ids(first.items) == ["N3", "N4"] and first.fields["gain"].tolist() == [1.0, 0.0]
    assert shown.shown.lengths.tolist() == [2, 2, 1]  # an item shown twice counts once
    past = shown.queries[0]
    assert data.catalog.ids(np.array(past.items)) == ["N1", "N2"] and max(past.times) < past.now
    assert any("one second apart" in note for note in made.report.notes)


def test_both_parts_of_a_release_and_a_split_that_cuts_exposures(tmp_path):
    for part in ("MINDsmall_train", "MINDsmall_dev"):
        write(tmp_path / part, "behaviors.tsv", BEHAVIOURS)
        write(tmp_path / part, "news.tsv", NEWS)
    data = import_data(tmp_path).dataset
    assert len(data.exposures) == 6 and data.n_items == 6
    made = global_time(data, valid=0.0, test=0.3)
    cut = float(made.test.queries.now.min()) if len(made.test) else data.interactions.time.max()
    kept = made.train.exposures
    assert kept is None or (kept.queries.now < cut).all()
