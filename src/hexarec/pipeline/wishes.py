"""A wish in words (`queries.text`): whether a pipeline reads it, and what is said where it does not."""

from __future__ import annotations

from hexarec.core import Degraded
from hexarec.core.options import stages_inside
from hexarec.pipeline.pipeline import Pipeline


def reads_text(pipeline: Pipeline) -> bool:
    """Whether anything that makes the pipeline's lists reads a wish in words."""
    return orders_by_text(pipeline) or _reads(pipeline.retrieve_)


def orders_by_text(pipeline: Pipeline) -> bool:
    """Whether what orders given items does: the ranker, or a controller."""
    return _reads((pipeline.rank_, *pipeline.control_))


def unread(name: str) -> Degraded:
    """What an answer says whose wish nobody read; name: of the pipeline."""
    return Degraded("text", name, "no stage of this pipeline reads a wish in words")


def _reads(stages: object) -> bool:
    """Whether one of the stages, or one inside them, says that it reads `queries.text`."""
    return any(getattr(one, "reads_text", False) for one in stages_inside(stages))
