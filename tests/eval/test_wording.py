"""Explanations as an experiment: what was invented, repaired, said by template; every request counted."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from hexarec.classic import Because, Popular, Random
from hexarec.core import CapabilityError, Catalog, Claim, DataError, Evidence, Item, OptionError, Reasons, Words
from hexarec.data import films
from hexarec.eval.experiment import Experiment
from hexarec.eval.report import read_report
from hexarec.eval.wording import Text
from hexarec.lm.fake import Scripted
from hexarec.pipeline.pipeline import Pipeline

DATA = films.load(users=80)
TASK = Text(DATA, k=2, max_users=6, shown_by=Popular())


def fact(prompt):
    """The fact line of the wording prompt."""
    return next(line for line in prompt.text.splitlines() if line.startswith("Fact: ")).removeprefix("Fact: ")


def faithful(prompt):
    return fact(prompt).partition(". ")[0] + "."


def inventive(prompt):
    return "It was directed by Napoleon Bonaparte in 1801."


class Learns:
    """Invents at first and says the fact when asked again."""

    def __init__(self):
        self.met = set()

    def __call__(self, prompt):
        first = fact(prompt) not in self.met
        self.met.add(fact(prompt))
        return inventive(prompt) if first else faithful(prompt)


def values(systems, task=TASK, **more):
    report = Experiment(task, systems, **more).run()
    return {row.system: {name: one.mean for name, one in row.values.items()} for row in report.rows}


def because(function):
    """An explainer with a scripted model; a spec of its own, so that no memo takes two scripts for one."""
    lm = Scripted(function)
    lm.spec = f"fake:scripted:{getattr(function, '__name__', type(function).__name__)}"
    return Because(lm)


@pytest.fixture(scope="module")
def table():
    return values({"faithful": because(faithful), "inventive": because(inventive), "learns": because(Learns())})


def test_the_template_invents_nothing_and_is_all_template(table):
    made = table["template"]
    assert made["raw_invention"] == made["repaired_invention"] == made["retried_share"] == made["empty_share"] == 0.0
    assert made["template_share"] == made["claim_precision"] == 1.0


def test_a_faithful_model_is_shown_and_an_inventive_one_is_not(table):
    worded = 1.0 - table["faithful"]["template_share"]
    assert worded > 0.3 and table["faithful"]["raw_invention"] == 0.0
    bad = table["inventive"]
    # the rates divide by all requests, also those for which no model is asked
    assert bad["raw_invention"] >= worded and bad["retried_share"] == bad["raw_invention"]
    assert bad["repaired_invention"] == 0.0 and bad["template_share"] == 1.0


def test_repair_is_seen(table):
    made = table["learns"]
    assert made["raw_invention"] > 0.3 and made["repaired_invention"] == 0.0
    assert made["retried_share"] == made["raw_invention"]
    assert made["template_share"] == pytest.approx(table["faithful"]["template_share"])


@dataclass
class Says:
    """An explainer with fixed words; claims it states of itself are not believed."""

    text: str = "It has a director."
    short: int = 0
    whole: str = ""
    evidence: tuple[tuple[Evidence, ...], ...] = ()

    def explain(self, queries, shown, desk):
        words = Words(self.text, claims=(Claim("all of it", "supported"),))
        whole = Words(self.whole) if self.whole else None
        return [Reasons((words,) * (n - self.short), whole, self.evidence) for n in shown.lengths.tolist()]


def test_every_text_is_checked_here_whatever_it_says_of_itself():
    made = values({"lies": Says("Directed by Napoleon Bonaparte.")}, floors=False)["lies"]
    assert made["raw_invention"] == made["repaired_invention"] == 1.0 and made["claim_precision"] == 0.0


def test_a_missing_reason_is_a_request_that_came_to_nothing():
    made = values({"short": Says(short=1)}, floors=False)["short"]
    assert made["empty_share"] == 0.5
    with pytest.raises(DataError, match="3 reasons were given for 2 items"):
        values({"long": Says(short=-1)}, floors=False)


def test_words_on_the_whole_list_count_as_one_more_request():
    made = values({"whole": Says(text="", whole="Directed by Napoleon Bonaparte.")}, floors=False)["whole"]
    assert made["empty_share"] == pytest.approx(2 / 3) and made["raw_invention"] == pytest.approx(1 / 3)


def test_a_pipeline_explains_the_given_lists_with_its_own_explainer(tmp_path):
    pipeline = Pipeline((Random(),), explain_by=Because())
    report = Experiment(TASK, {"p": pipeline}).run(tmp_path)
    assert np.array_equal(report.lists["p"].items, report.lists["template"].items)
    assert "text: reasons for the top 2 of Popular, 6 users" in report.title and "12 reasons" in report.title
    text = (tmp_path / "report.md").read_text()
    assert "claim precision of all claims" in text and read_report(tmp_path).baseline == "template"
    again = Experiment(TASK, {"p": pipeline}).run(tmp_path, resume=True)
    assert repr(again.rows[0].values) == repr(report.rows[0].values)


@pytest.mark.parametrize("system", [Pipeline((Random(),)), Popular()])
def test_what_explains_nothing_is_refused(system):
    with pytest.raises(OptionError, match="explain") as caught:
        values({"none": system})
    assert "because" in caught.value.hint


def test_too_few_reasons_are_refused():
    @dataclass
    class None_:
        def explain(self, queries, shown, desk):
            return []

    with pytest.raises(DataError, match="gave 0 reasons for 6 lists"):
        values({"none": None_()}, floors=False)


def test_items_without_attributes_have_nothing_to_be_checked_against():
    bare = Catalog.of([Item("a", "A"), Item("b", "B")])
    with pytest.raises(CapabilityError, match="no attributes"):
        Text(replace(DATA, catalog=bare)).round()


def test_other_metrics_are_refused():
    with pytest.raises(OptionError, match="auc does not measure explanations"):
        values({}, metrics=("auc",))


def test_chinese_words_are_checked_too():
    made = values({"zh": Because()}, replace(TASK, lang="zh"), floors=False)["zh"]
    assert made["repaired_invention"] == 0.0 and made["claim_precision"] == 1.0
