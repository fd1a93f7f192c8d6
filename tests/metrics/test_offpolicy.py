"""Ten estimators against values known exactly: bias, variance, shifts, intervals, and what the weights warn of."""

from dataclasses import replace

import numpy as np
import pytest

from hexarec.core import DataError, Exposures, Lists, OptionError
from hexarec.metrics import Logged, estimate, logged_of
from hexarec.metrics.offpolicy import METHODS

from .worlds import world

CONTEXTS, ACTIONS = 6, 5
LAM = {"clipped": 3.0, "switch": 3.0, "dros": 3.0, "sg": 0.1}


def softmax(scores):
    odds = np.exp(scores - scores.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


class World:
    """Contexts drawn alike, a logger, another policy, and the true chance of a reward."""

    def __init__(self, seed=0):
        draw = np.random.default_rng(seed)
        self.reward = draw.uniform(0.1, 0.9, (CONTEXTS, ACTIONS))
        self.logger = softmax(draw.normal(size=(CONTEXTS, ACTIONS)))
        self.policy = softmax(2.0 * self.reward + 0.7 * draw.normal(size=(CONTEXTS, ACTIONS)))
        self.value = float((self.policy * self.reward).sum(1).mean())
        self.wrong = np.full((CONTEXTS, ACTIONS), 0.3)
        self.wrong[:, 0] = 0.8

    def log(self, n, draw):
        """n decisions and their contexts."""
        context = draw.integers(0, CONTEXTS, n)
        chance = self.logger[context]
        action = (draw.random(n)[:, None] > np.cumsum(chance, 1)).sum(1).clip(0, ACTIONS - 1)
        reward = (draw.random(n) < self.reward[context, action]).astype(float)
        return context, Logged(action, reward, chance[np.arange(n), action])


WORLD = World()


def runs(methods, *, n=400, times=200, q=WORLD.reward, propensity=None, seed=0):
    """{method: (times,) estimates}; `propensity` replaces the logger's table by a wrong one."""
    draw, out = np.random.default_rng(seed), {method: [] for method in methods}
    for _ in range(times):
        context, log = WORLD.log(n, draw)
        if propensity is not None:
            log = Logged(log.action, log.reward, propensity[context, log.action])
        for method in methods:
            made = estimate(WORLD.policy[context], log, method, q=q[context], lam=LAM.get(method), rounds=1)
            out[method].append(made.value)
    return {method: np.array(values) for method, values in out.items()}


def off(values):
    """How many standard errors the mean of the estimates lies from the truth."""
    return abs(values.mean() - WORLD.value) / (values.std(ddof=1) / len(values) ** 0.5)


def test_ips_snips_and_dr_are_unbiased_and_a_good_q_saves_variance():
    made = runs(("ips", "snips", "dr", "sndr"), n=1000)
    assert {method: off(values) < 2 for method, values in made.items()} == dict.fromkeys(made, True)
    assert made["dr"].var() < 0.8 * made["ips"].var() and made["dr"].var() < made["snips"].var()
    naive = [WORLD.log(1000, np.random.default_rng(s))[1].reward.mean() for s in range(200)]
    assert off(np.array(naive)) > 10  # what the log earned is not what the policy earns


def test_double_robustness_in_both_cells_and_in_no_third():
    other = softmax(np.log(WORLD.logger) + np.linspace(0.8, -0.8, ACTIONS))
    q_right = runs(("dr", "ips", "sndr"), propensity=other)
    b_right = runs(("dr", "dm", "sndr"), q=WORLD.wrong, seed=1)
    neither = runs(("dr",), q=WORLD.wrong, propensity=other, seed=2)
    assert off(q_right["dr"]) < 2 and off(b_right["dr"]) < 2
    assert off(q_right["sndr"]) < 2 and off(b_right["sndr"]) < 2.5
    assert off(q_right["ips"]) > 5 and off(b_right["dm"]) > 5 and off(neither["dr"]) > 5


def test_estimators_with_lam_trade_bias_for_variance_and_end_where_they_should():
    draw = np.random.default_rng(3)
    context, log = WORLD.log(500, draw)
    policy, q = WORLD.policy[context], WORLD.wrong[context]
    of = lambda method, lam=None: estimate(policy, log, method, q=q, lam=lam, rounds=1).value  # noqa: E731
    assert of("clipped", 1e9) == pytest.approx(of("ips")) == pytest.approx(of("sg", 0.0))
    assert of("switch", 1e9) == pytest.approx(of("dr")) == pytest.approx(of("dros", 1e12))
    assert of("switch", 0.0) == pytest.approx(of("dm")) == pytest.approx(of("dros", 0.0))
    assert of("sg", 1.0) == pytest.approx(log.reward.mean())
    made = runs(("ips", "clipped", "sg", "dr", "switch", "dros"), q=WORLD.wrong)
    assert made["clipped"].var() < made["ips"].var() and made["sg"].var() < made["ips"].var()
    assert made["switch"].var() < made["dr"].var() and made["dros"].var() < made["dr"].var()


def test_the_formulas_by_hand():
    log = Logged(np.array([0, 1]), np.array([1.0, 2.0]), np.array([0.5, 0.25]))
    policy, q = np.array([[0.25, 0.75], [0.0, 1.0]]), np.array([[1.0, 0.0], [3.0, 1.0]])
    w, v, gap = np.array([0.5, 4.0]), np.array([0.25, 1.0]), np.array([0.0, 1.0])
    want = {
        "dm": v.mean(), "ips": 8.5 / 2, "clipped": 6.5 / 2, "snips": 8.5 / 4.5, "dr": (v + w * gap).mean(),
        "sndr": v.mean() + 4 / 4.5, "switch": v.mean(), "dros": (v + 3 * w / (w**2 + 3) * gap).mean(),
        "sg": (w / (0.9 + 0.1 * w) * log.reward).mean(),
    }  # fmt: skip
    assert set(want) == set(METHODS)
    for method, value in want.items():
        made = estimate(policy, log, method, q=q, lam=LAM.get(method), rounds=5)
        assert made.value == pytest.approx(value), method
        assert made.method == method and made.ess == pytest.approx(4.5**2 / 16.25)
    said = made.diagnostics
    assert (said.mean_weight, said.max_share, said.residual) == pytest.approx((2.25, 4 / 4.5, 0.5))
    assert estimate(np.array([0.25, 1.0]), log, "snips", rounds=5).value == pytest.approx(8.5 / 4.5)


def test_a_shift_of_all_rewards_shifts_snips_and_its_interval_alike_and_ips_not():
    context, log = WORLD.log(300, np.random.default_rng(4))
    moved = Logged(log.action, log.reward + 10.0, log.propensity)
    policy = WORLD.policy[context]
    before, after = (estimate(policy, one, "snips") for one in (log, moved))
    assert (after.value, after.low, after.high) == pytest.approx((before.value + 10, before.low + 10, before.high + 10))
    before, after = (estimate(policy, one, "ips") for one in (log, moved))
    assert abs(after.value - before.value - 10) > 0.1 and after.high - after.low > 5 * (before.high - before.low)


@pytest.mark.parametrize("method", ["ips", "snips", "dr", "sndr"])
def test_intervals_cover_as_often_as_they_say(method):
    draw, inside = np.random.default_rng(5), []
    for seed in range(250):
        context, log = WORLD.log(250, draw)
        log = Logged(log.action, log.reward + 2.0, log.propensity)  # a level that a fixed denominator would not bear
        made = estimate(WORLD.policy[context], log, method, q=WORLD.wrong[context], seed=seed, rounds=150)
        inside.append(made.low <= WORLD.value + 2.0 <= made.high)
    assert 0.92 <= np.mean(inside) <= 0.98


def test_the_interval_draws_numerator_and_denominator():
    context, log = WORLD.log(2000, np.random.default_rng(6))
    log = Logged(log.action, np.full(2000, 3.0), log.propensity)
    made = estimate(WORLD.policy[context], log, "snips")
    assert made.low == pytest.approx(3.0) and made.high == pytest.approx(3.0)  # equal rewards: nothing is uncertain
    weighted = estimate(WORLD.policy[context], log, "ips")
    assert weighted.high - weighted.low > 0.1


def test_users_are_drawn_with_all_their_decisions():
    context, log = WORLD.log(500, np.random.default_rng(7))
    twice = np.repeat(np.arange(500), 4)
    many = Logged(log.action[twice], log.reward[twice], log.propensity[twice], twice)
    naive = Logged(many.action, many.reward, many.propensity)
    one, by_user, by_row = (
        estimate(WORLD.policy[context][rows], given, "snips")
        for rows, given in ((slice(None), log), (twice, many), (twice, naive))
    )
    assert by_user.value == pytest.approx(one.value) == pytest.approx(by_row.value)
    assert by_user.high - by_user.low == pytest.approx(one.high - one.low, rel=0.1)
    assert by_row.high - by_row.low < 0.6 * (one.high - one.low)


@pytest.mark.parametrize(("share", "warned"), [(0.04, True), (0.07, False)])
def test_thin_overlap_is_warned_of(share, warned):
    n = 2000
    action = (np.arange(n) >= share * n).astype(int)  # the logger shows action 0 in a share of cases
    log = Logged(action, np.ones(n), np.where(action == 0, share, 1 - share))
    made = estimate(np.tile([1.0, 0.0], (n, 1)), log, "snips")  # the policy always
    assert made.diagnostics.overlap == pytest.approx(share) and made.ess == pytest.approx(share * n)
    assert [text.startswith("overlap") for text in made.diagnostics.warnings] == [True] * warned


def test_what_the_logger_never_shows_is_warned_of():
    draw = np.random.default_rng(8)
    action = draw.integers(0, 2, 1000)
    logger = np.tile([0.5, 0.5, 0.0], (1000, 1))
    policy = np.tile([0.4, 0.3, 0.3], (1000, 1))
    for known in (logger, None):
        made = estimate(policy, Logged(action, np.ones(1000), np.full(1000, 0.5), logger=known), "ips", rounds=10)
        assert made.diagnostics.unsupported == pytest.approx(0.3) and made.diagnostics.mean_weight == pytest.approx(
            0.7, abs=0.01
        )
        assert "30.0%" in made.diagnostics.warnings[-1] and "mean weight" in made.diagnostics.warnings[0]
    assert np.isnan(
        estimate(np.full(1000, 0.4), Logged(action, np.ones(1000), np.full(1000, 0.5)), "ips").diagnostics.unsupported
    )
    context, log = WORLD.log(1000, draw)
    healthy = estimate(WORLD.policy[context], log, "ips", rounds=10).diagnostics
    assert healthy.warnings == () and healthy.unsupported == 0.0 and np.isnan(healthy.residual)


def test_wrong_propensities_show_in_the_mean_weight():
    context, log = WORLD.log(3000, np.random.default_rng(9))
    wrong = Logged(log.action, log.reward, log.propensity * 0.7)
    assert "mean weight" in estimate(WORLD.policy[context], wrong, "snips", rounds=5).diagnostics.warnings[0]


def test_a_policy_that_shares_nothing_with_the_log_has_no_value():
    log = Logged(np.zeros(10, int), np.ones(10), np.ones(10))
    made = estimate(np.tile([0.0, 1.0], (10, 1)), log, "snips", rounds=5)
    assert np.isnan([made.value, made.low, made.high]).all() and made.ess == 0.0 and len(made.diagnostics.warnings) == 3
    for method in ("dros", "sg"):
        assert np.isfinite(
            estimate(np.tile([0.0, 1.0], (10, 1)), log, method, q=np.zeros((10, 2)), lam=1.0, rounds=5).value
        )


def exposures(**columns):
    """Two lists, of the users u and w, and one of nobody."""
    queries = world().queries([0, 2, 0])
    queries = replace(queries, user=np.array([0, 2, -1], np.int32))
    shown = Lists.of(queries.catalog.key, [[0, 3], [1], [4]])
    for name, column in ({"gain": [1, 0, 1, 0], "propensity": [0.5, 0.25, 1.0, 0.5]} | columns).items():
        shown = shown if column is None else shown.with_field(name, np.array(column, np.float32))
    return Exposures(queries, shown)


def test_exposures_are_read_as_decisions():
    log = logged_of(exposures())
    assert log.action.tolist() == [0, 3, 1, 4] and log.reward.tolist() == [1, 0, 1, 0]
    assert log.propensity.tolist() == [0.5, 0.25, 1.0, 0.5] and log.user.tolist() == [0, 0, 2, -3]
    assert estimate(np.array([1.0, 0.25, 0.5, 0.5]), log, "ips").value == pytest.approx((2 + 0.5) / 4)
    table = np.full((4, 5), 0.2)
    assert estimate(table, log, "dr", q=np.full((4, 5), 0.5)).diagnostics.unsupported == pytest.approx(0.2)  # item 2


@pytest.mark.parametrize(
    "columns", [{"propensity": None}, {"propensity": [0.5, 0.0, 1, 1]}, {"propensity": [0.5, 2.0, 1, 1]},
                {"gain": [1, np.nan, 0, 0]}],
)  # fmt: skip
def test_exposures_that_cannot_be_read_are_refused(columns):
    with pytest.raises(DataError):
        logged_of(exposures(**columns))


@pytest.mark.parametrize(
    ("change", "error"),
    [({"method": "magic"}, OptionError), ({"method": "dr", "q": None}, OptionError), ({"method": "clipped"}, OptionError),
     ({"method": "sg", "lam": 2.0}, OptionError), ({"policy": np.ones((10, 2))}, DataError),
     ({"policy": np.ones(9)}, DataError), ({"policy": np.full((10, 1), 1.0)}, DataError),
     ({"policy": np.full(10, 3.0)}, DataError), ({"policy": np.ones(10), "method": "dr"}, DataError),
     ({"q": np.full((10, 2), np.nan)}, DataError), ({"q": np.zeros((10, 3))}, DataError)],
)  # fmt: skip
def test_what_cannot_be_estimated_is_refused(change, error):
    log = Logged(np.arange(10) % 2, np.ones(10), np.full(10, 0.5))
    given = {"policy": np.full((10, 2), 0.5), "method": "ips", "q": np.zeros((10, 2))} | change
    with pytest.raises(error):
        estimate(given.pop("policy"), log, given.pop("method"), **given, rounds=5)


def test_logs_that_do_not_fit_are_refused():
    one = np.ones(2)
    for action, reward, propensity in ((np.zeros(0, int), one[:0], one[:0]), (np.zeros(2, int), one[:1], one),
                                       (np.zeros(2, int), one * np.nan, one), (np.zeros(2, int), one, one * 0)):  # fmt: skip
        with pytest.raises(DataError):
            Logged(action, reward, propensity)
    with pytest.raises(DataError):
        estimate(one, Logged(np.zeros(2, int), one, one, user=np.arange(3)), "ips")
    with pytest.raises(DataError):
        estimate(np.ones((2, 1)), Logged(np.zeros(2, int), one, one, logger=np.ones((2, 3))), "ips")
