import numpy as np

from hexarec.eval.segments import by_history


def test_users_fall_into_bins_by_the_length_of_their_history():
    lengths = np.array([0, 1, 4, 5, 200])
    values = {"mine": np.array([0.0, 0.5, 1.0, np.nan, 1.0]), "other": np.zeros(5)}
    made = by_history(values, lengths, "ndcg@10")
    assert made["bins"] == ["0", "1-4", "5-9", "100+"] and made["users"] == [1, 2, 1, 1]
    assert [cell[0] for cell in made["values"]["mine"]] == [0.0, 0.75, None, 1.0]
    mean, low, high = made["values"]["mine"][1]
    assert low <= mean <= high and low < high


def test_nobody_asked_is_nothing():
    assert by_history({"mine": np.zeros(0)}, np.zeros(0, np.int64), "ndcg@10") == {}
    assert by_history({}, np.array([1, 2]), "ndcg@10") == {}
