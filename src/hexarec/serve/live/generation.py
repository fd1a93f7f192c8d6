"""One published version of a pipeline, ready to answer."""

from __future__ import annotations

from dataclasses import dataclass

from hexarec.core import Catalog
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

    @property
    def policy(self) -> str:
        """How exposures name what chose their items."""
        return f"{self.name}@{self.version}"
