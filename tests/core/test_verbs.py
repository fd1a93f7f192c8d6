from hexarec.classic import EASE, IALS, MMR
from hexarec.core import (
    STAGES,
    Backbone,
    Controller,
    Desk,
    Extends,
    Fitted,
    Ranker,
    Retriever,
    stages_of,
)
from hexarec.pipeline.pipeline import Pipeline


def test_a_stage_is_what_its_methods_say():
    assert isinstance(EASE(), Retriever) and isinstance(EASE(), Ranker) and isinstance(EASE(), Fitted)
    assert isinstance(IALS(), Backbone) and not isinstance(EASE(), Backbone)
    assert isinstance(MMR(), Controller) and not isinstance(MMR(), Ranker)
    assert isinstance(MMR(), Extends) and not isinstance(EASE(), Extends)


def test_stages_of_an_object_and_of_its_class_are_the_same_in_the_order_of_the_slots():
    assert stages_of(IALS) == stages_of(IALS()) == ("backbone", "retrieve", "rank")
    assert stages_of(object()) == () and list(STAGES)[:3] == ["enrich", "backbone", "retrieve"]


def test_a_plain_class_qualifies_without_a_base_and_an_attribute_does_not():
    class Mine:
        def rank(self, queries, candidates):
            return candidates

    class NotMine:
        rank = 3

    assert stages_of(Mine()) == ("rank",) and stages_of(NotMine()) == ()


def test_a_pipeline_is_a_desk():
    from hexarec.data.worlds import world

    made = Pipeline((EASE(),)).fit(world("order").data)
    assert isinstance(made, Desk) and not isinstance(EASE(), Desk)
