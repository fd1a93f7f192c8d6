"""One published version of a pipeline, ready to answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hexarec.core import Catalog
from hexarec.pipeline import wishes
from hexarec.pipeline.pipeline import Pipeline, name_of
from hexarec.serve.live.standby import Standby


@dataclass(frozen=True, eq=False)
class Generation:
    """A fitted pipeline attached to the catalog of a moment.

    like: the smallest rating that counts as liked. path: the directory it was read from.
    """

    name: str
    version: int
    pipeline: Pipeline
    standby: Standby
    like: float | None = None
    path: str = ""

    @property
    def catalog(self) -> Catalog:
        """The items it serves."""
        return self.pipeline.catalog

    @property
    def retrievers(self) -> list[str]:
        """The names of its retrievers."""
        return [name_of(stage) for stage in self.pipeline.retrieve_]

    @cached_property
    def orders_by_text(self) -> bool:
        """Whether its ranker or a controller reads a wish in words."""
        return wishes.orders_by_text(self.pipeline)

    @cached_property
    def reads_text(self) -> bool:
        """Whether anything that makes its lists does."""
        return wishes.reads_text(self.pipeline)

    @property
    def policy(self) -> str:
        """How exposures name what chose their items."""
        return f"{self.name}@{self.version}"
