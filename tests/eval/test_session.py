import numpy as np
import pytest

from hexarec.classic import IALS, ItemKNN, Popular
from hexarec.core import ModelError, OptionError, Queries, run, variant
from hexarec.data.worlds import world
from hexarec.eval.experiment import Experiment
from hexarec.eval.session import Session, discrimination, hazards, mixed, trend, visits_cost
from hexarec.eval.simulation import Simulation
from hexarec.eval.tasks import Given
from hexarec.lm.base import failed
from hexarec.lm.fake import Overlap
from hexarec.lm.open import open_lm
from hexarec.methods.agent4rec import Agent4Rec
from hexarec.parts.rollout import rollout

PLACE = world("checkerboard")
TWIN = Agent4Rec(mind="rules", taste_by=IALS(factors=8), max_pages=3)


def test_a_table_of_visits_with_floors_intervals_and_tests(tmp_path):
    task = Session(PLACE.data, variant(TWIN, max_pages=1), pages=1, per_page=3)
    report = Experiment(task, {"neighbours": ItemKNN()}, baseline="random").run(tmp_path)
    table = {row.system: row for row in report.rows}
    better, worse = (table[name].values["satisfaction"] for name in ("neighbours", "random"))
    assert better.mean > worse.mean + 0.5 and better.p < 0.05 and better.low < better.mean < better.high
    assert "visits of 60 simulated users (Agent4Rec), at most 1 pages of 3" in report.title
    assert report.simulated
    again = Experiment(task, {"neighbours": ItemKNN()}, baseline="random").run(tmp_path, resume=True)
    assert [row.values["likes"].mean for row in again.rows] == [row.values["likes"].mean for row in report.rows]


def test_the_key_of_a_round_knows_who_answers():
    one, other = Session(PLACE.data, TWIN), Session(PLACE.data, variant(TWIN, likes=5.0))
    assert one.round().key == Session(PLACE.data, TWIN).round().key != other.round().key


def test_samples_and_refusals():
    assert len(Session(PLACE.data, TWIN, max_users=7).round().queries) == 7
    with pytest.raises(OptionError, match="no user model"):
        Session(PLACE.data, Popular()).round()
    asked = Session(PLACE.data, TWIN, max_users=3).round()
    with pytest.raises(OptionError, match="does not measure visits"):
        Experiment(Session(PLACE.data, TWIN, max_users=3), {}, metrics=("ndcg@10",)).run()
    assert asked.leaked == 0 and isinstance(asked.queries, Queries)
    Given(PLACE.data, PLACE.queries, PLACE.truth, None, "other tasks stand", ("ndcg@3",)).round()


def test_mixed_pages_hold_one_like_to_m_others_none_of_them_met():
    page = mixed(PLACE.queries, PLACE.truth, 4, 3)
    assert page.lengths.tolist() == [4] * len(PLACE.queries)
    for i, one in enumerate(page):
        right = one.items[one.fields["gain"] > 0]
        assert len(right) == 1 and set(right.tolist()) <= set(PLACE.truth[i].items.tolist())
        others = set(one.items[one.fields["gain"] == 0].tolist())
        assert not others & {*PLACE.truth[i].items.tolist(), *PLACE.queries[i].exclude}
    assert mixed(PLACE.queries, PLACE.truth, 20, 1).lengths.sum() == 0


class Says:
    """Says yes to what a function of the item id wants."""

    def __init__(self, yes):
        self.yes = yes

    def react(self, visits, shown):
        ids = PLACE.data.catalog.ids
        return [
            {**visit, "page": 1, "exited": True, "satisfaction": 5,
             "judged": [{"item": name, "liked": False, "aligned": self.yes(name)} for name in ids(page.items)]}
            for visit, page in zip(visits, shown, strict=True)
        ]  # fmt: skip


def test_a_yes_sayer_has_full_recall_and_full_false_positives():
    page = mixed(PLACE.queries, PLACE.truth, 4, 1)
    yes = discrimination(Says(lambda name: True), PLACE.queries, page)
    assert (yes.yes_rate, yes.recall, yes.false_positives, yes.precision, yes.auc) == (1, 1, 1, 0.5, 0.5)
    right = set(PLACE.data.catalog.ids(np.arange(0, 24, 2)))
    even = PLACE.queries.take(PLACE.queries.user % 2 == 0)
    truth = PLACE.truth.take(PLACE.queries.user % 2 == 0)
    knows = discrimination(Says(lambda name: name in right), even, mixed(even, truth, 4, 1))
    assert knows.recall == 1.0 and knows.false_positives < 0.3 and knows.auc > 0.8


def test_the_twin_tells_likes_from_others_at_every_ratio():
    people = TWIN.fit(PLACE.data)
    for others in (1, 3):
        told = discrimination(people, PLACE.queries, mixed(PLACE.queries, PLACE.truth, 4, others))
        assert told.recall > told.false_positives + 0.2


def test_trends_and_hazards():
    draw = np.random.Generator(np.random.PCG64(0))
    levels = np.repeat([1, 2, 3], 30)
    rising = trend(levels, levels + draw.normal(size=90), draws=200)
    assert rising.slope > 0.5 and rising.p < 0.01 and len(rising.means) == 3
    assert trend(levels, draw.normal(size=90), draws=200).p > 0.05
    assert np.isnan(trend(np.ones(5), np.arange(5)).p)
    assert hazards(np.array([1, 1, 2, 3]), 3) == (0.5, 0.5, 1.0)


def test_the_cost_of_visits_is_an_upper_bound_and_asks_nobody():
    class Asked(Overlap):
        def label(self, prompts, labels):
            raise AssertionError("a model was asked")

        generate = label

    told = visits_cost(Agent4Rec(Asked(), taste="model"), PLACE.data, 100, pages=3)
    with run() as work:
        rolled = rollout(
            Popular().fit(PLACE.data).retrieve(PLACE.queries, 12),
            PLACE.queries, Agent4Rec(Overlap(), max_pages=3).fit(PLACE.data), pages=3,
        )  # fmt: skip
    assert told.n == 100 and told.calls / 100 > work.ledger.calls / len(rolled.visits)
    assert visits_cost(TWIN, PLACE.data, 100).calls == 0
    fit = visits_cost(Agent4Rec(Asked(), taste="counted", calibrated=10), PLACE.data, 1)
    assert fit.fit_calls == 20


DEAD = ("openai:http://127.0.0.1:9/v1#m", "text")


def visited(people):
    task = Session(PLACE.data, people, pages=2, per_page=2, max_users=3)
    return Experiment(task, {"pop": Popular()}, floors=False).run()


def test_users_whose_model_never_answers_are_no_users():
    with pytest.raises(ModelError, match="none of 12 answers of the simulated users came: cannot reach"):
        visited(Agent4Rec(open_lm(DEAD[0]), backend=DEAD[1], taste="counted"))


class Half(Overlap):
    """Answers the first call and fails at all others."""

    calls = 0

    def generate(self, prompts, within=None):
        self.calls += 1
        if self.calls == 1:
            return super().generate(prompts, within)
        return [failed("the server broke down") for _ in prompts]


def test_steps_of_users_that_fail_are_counted_and_told():
    notes, reasons = [], []
    with run(emit=notes.append, complain=reasons.append):
        report = visited(Agent4Rec(Half(), backend="text", taste="counted"))
    said = [one["text"] for one in notes if one["kind"] == "note"]
    assert report.rows[0].degraded == len(reasons) > 3 and f"{len(reasons)} steps of simulated users failed" in said[0]
    assert visited(TWIN).rows[0].degraded == 0


def judged(people):
    return discrimination(people.fit(PLACE.data), PLACE.queries, mixed(PLACE.queries, PLACE.truth, 4, 1))


def simulated(people):
    return Simulation(PLACE.data, people.fit(PLACE.data), 6, 1, 2, 2).visited(Popular().fit(PLACE.data), 0)


@pytest.mark.parametrize("ask", [judged, simulated])
def test_what_else_asks_users_counts_what_their_model_lost_and_refuses_silence(ask):
    with pytest.raises(ModelError, match=r"none of \d+ answers of the simulated users came: cannot reach"):
        ask(Agent4Rec(open_lm(DEAD[0]), backend=DEAD[1], taste="counted"))
    notes, reasons = [], []
    with run(emit=notes.append, complain=reasons.append):
        made = ask(Agent4Rec(Half(), backend="text", taste="counted"))
    said = [one["text"] for one in notes if one["kind"] == "note"]
    assert made.failed == len(reasons) > 0 and f"{made.failed} steps of simulated users failed" in said[0]
    assert ask(TWIN).failed == 0


@pytest.mark.parametrize(("field", "value"), [("max_users", -1), ("max_users", 0), ("pages", 0), ("per_page", -2)])
def test_impossible_numbers_of_a_session(field, value):
    with pytest.raises(OptionError, match=f"Session: {field} is {value}, not at least 1"):
        Session(PLACE.data, TWIN, **{field: value})
