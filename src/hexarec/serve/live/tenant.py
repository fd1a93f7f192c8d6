"""One tenant: its shelf of the store, its catalog, and its pipelines in service."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hexarec.core import Catalog, Dataset, StateError, run
from hexarec.core.errors import HexarecError
from hexarec.serve.errors import MissingError
from hexarec.serve.live.catalogs import catalog_of, dataset_of, event_rows, grown, item_rows, user_rows
from hexarec.serve.live.enriched import with_kept
from hexarec.serve.live.generation import Generation
from hexarec.serve.live.memory import Memory
from hexarec.serve.live.prompts import with_prompts
from hexarec.serve.live.publish import KEPT, KIND, fitted_version, forgotten, generation_of, on_catalog, pruned
from hexarec.serve.live.recommender import Recommender
from hexarec.serve.live.vocabulary import NAME as VOCABULARY
from hexarec.serve.live.vocabulary import vocabulary_of, with_vocabulary
from hexarec.serve.store.checks import checked_name
from hexarec.serve.store.rows import EventRow, ItemRow, Versioned

if TYPE_CHECKING:
    from hexarec.serve.store.shelf import Shelf

SETTINGS = "settings"
PAGE = 1_000
HISTORY = 500
"""Newest events of a user that a question may know."""


class Tenant:
    """Serves what its shelf holds. `refresh` takes up what changed there, whoever changed it.

    folder: where fitted pipelines lie. merge, most, threads: of each `Recommender`. memory: bytes of language models'
    answers that are kept, 0 for none.
    """

    def __init__(
        self, shelf: Shelf, folder: Path, *, merge: int = 64, most: int = 512, threads: int = 1, memory: int = 0
    ) -> None:
        self.shelf, self.folder = shelf, folder
        self._memory = Memory(shelf, memory) if memory else None
        self._batching = (merge, most, threads)
        self._recommenders: dict[str, Recommender] = {}
        self._default: str | None = None
        self._catalog: Catalog | None = None
        self._plain: Catalog | None = None  # without the words of its values: words that were taken away leave nothing
        self._reached: dict[str, Catalog] = {}  # what each pipeline serves
        self._seen = 0  # newest item version that the catalog has
        self._worded = 0  # version of the words of its values
        self._counts: Counter[str] = Counter()
        self._counted = 0  # newest event that the counts have
        self._lock = threading.RLock()
        self.reporting = threading.Lock()  # one report of this tenant is worked out at a time
        self.erasing = threading.Lock()  # of two erasures at once the second would write back what the first took out
        self._documents: dict[str, tuple[float, list[Versioned]]] = {}
        self.broken: dict[str, str] = {}  # pipeline versions that could not be taken up, and why

    # -------------------------------------------------------------- contents
    @property
    def name(self) -> str:
        """The tenant's name."""
        return self.shelf.tenant

    @property
    def settings(self) -> Mapping[str, Any]:
        """lang and name of the data, and the smallest rating that counts as liked."""
        found = self.shelf.get(SETTINGS, "data")
        return {} if found is None else found.body

    @property
    def worded(self) -> bool:
        """Whether it was ever said how values of attributes are called in other languages."""
        return self.shelf.get(SETTINGS, VOCABULARY) is not None

    def name_values(self, catalog: Catalog) -> None:
        """Keep how a catalog calls values of attributes in other languages, for this catalog and those to come."""
        words, known = vocabulary_of(catalog), self.shelf.get(SETTINGS, VOCABULARY)
        if words != ({} if known is None else known.body):
            self.shelf.put(SETTINGS, VOCABULARY, words, activate=True)

    @property
    def catalog(self) -> Catalog:
        """The items as last taken up. Raises StateError while there is none."""
        if self._catalog is None:
            raise StateError(f"tenant {self.name} has no items yet", hint="PUT /v1/items, or hexarec serve --data")
        return self._catalog

    @property
    def empty(self) -> bool:
        """Whether no item was ever taken up."""
        return self._catalog is None

    @property
    def popularity(self) -> Mapping[str, int]:
        """Events per item, as last counted."""
        return self._counts

    @property
    def state(self) -> tuple[int, int, int]:
        """The newest item version, event and version of the words that were taken up: data change with them."""
        return self._seen, self._counted, self._worded

    def import_data(self, data: Dataset) -> dict[str, int]:
        """Store a data set's items, users and events; what is there already is not counted twice."""
        known = {
            "lang": data.catalog.lang,
            "name": data.name,
            "like": data.interactions.smallest_liked,
            "simulated": data.simulated,
        }
        if self.settings != known:
            self.shelf.put(SETTINGS, "data", known, activate=True)
        self.name_values(data.catalog)
        items = item_rows(data.catalog)
        for start in range(0, len(items), PAGE):
            self.shelf.put_items(items[start : start + PAGE])
        users = user_rows(data)
        for start in range(0, len(users), PAGE):
            self.shelf.put_users(users[start : start + PAGE])
        verdicts: Counter[str] = Counter()
        for rows in event_rows(data):
            verdicts.update(self.shelf.add_events(rows))
        self.refresh()
        return {"items": len(items), "users": len(users), **verdicts}

    def data(self) -> Dataset:
        """Everything stored, to fit on, with what enrichers made of it."""
        self.refresh()
        users, last = [], ""
        while page := self.shelf.users(after_id=last, most=PAGE):
            users += page
            last = page[-1].id
        told = self.settings
        name, like = str(told.get("name", self.name)), told.get("like")
        made = dataset_of(self.catalog, self.shelf.event_columns(), users, name=name, like=like)
        made = replace(made, simulated=bool(told.get("simulated", False)))
        return with_kept(made, self.shelf, self.folder)

    # ------------------------------------------------------------- pipelines
    def fit(self, name: str, config: Mapping[str, Any], *, seed: int = 0) -> Versioned:
        """Fit a configuration on everything stored, publish it as the next version, and serve it."""
        checked_name(name, "pipeline")  # it becomes the name of a folder
        started = time.time()
        with run(tenant=self.name):
            data = self.data()
            body = fitted_version(with_prompts(config, self.shelf), config, data, self.folder, name, seed)
        return self.publish(name, body, started, data.users.ids.ids.tolist())

    def publish(
        self, name: str, body: Mapping[str, Any], started: float, users: Sequence[str], after: Versioned | None = None
    ) -> Versioned:
        """Serve what was saved as the next version, without those of `users` who were erased since `started`.

        after: the version it was made from; raises StateError when that is no longer the active one, or was written
        anew for an erasure.
        """
        made = self.shelf.put(KIND, name, body, activate=True, after=after)
        self._forget_since(started, users, name)
        self.refresh()
        with self.erasing:
            pruned(self.shelf, self.folder, name)
        return made

    def _forget_since(self, started: float, users: Sequence[str], name: str) -> None:
        """Take those out of a fresh version who were erased while it was fitted.

        It is looked for after the version is known to the store: an erasure that begins later finds it there.
        """
        fresh = {mark for mark, time in self.shelf.tombstones() if time >= started}
        gone = [user for user in users if self.shelf.pseudonym(user) in fresh] if fresh else []
        if gone:
            with self.erasing:
                forgotten(self.shelf, self.folder, name, gone)

    def activate(self, name: str, version: int) -> Versioned:
        """Serve another version from now on; the one before last is at hand and costs nothing.

        Raises StateError for any other whose files are gone: it would be the active one, and served by nobody.
        """
        there, served = self.shelf.get(KIND, name, version), self._recommenders.get(name)
        at_hand = served is not None and served.previous is not None and served.previous.version == version
        if not at_hand and there is not None and not (self.folder / str(there.body["path"])).is_dir():
            raise StateError(f"the files of pipeline {name} {version} are gone", hint=f"the newest {KEPT} keep theirs")
        made = self.shelf.activate(KIND, name, version)
        with self._lock:
            served = self._recommenders.get(name)
            if served is not None and served.previous is not None and served.previous.version == version:
                served.swap(on_catalog(served.previous, self.catalog, self._counts))
        self.refresh()
        return made

    def recommender(self, name: str | None = None) -> Recommender:
        """The pipeline of this name; the first one without a name. Raises MissingError, StateError."""
        wanted = name or self._default
        if wanted is None:
            raise StateError(f"tenant {self.name} has no pipeline yet", hint="POST /v1/jobs with kind fit")
        found = self._recommenders.get(wanted)
        if found is None:
            known = ", ".join(sorted(self._recommenders)) or "none"
            raise MissingError(f"no pipeline {wanted!r} is served", hint=f"pipelines: {known}")
        return found

    def documents(self, kind: str) -> list[Versioned]:
        """The active documents of a kind, as of the last second: experiments are looked at with every question.

        While the store cannot be read, those known last.
        """
        read, found = self._documents.get(kind, (-10.0, None))
        if found is None or time.monotonic() - read > 1.0:
            try:
                found = self.shelf.names(kind)
            except HexarecError:
                if found is None:
                    raise
            self._documents[kind] = (time.monotonic(), found)
        return found

    def make_default(self, name: str) -> None:
        """Give this pipeline to everybody who names none. Raises MissingError."""
        self.recommender(name)
        self.shelf.put(SETTINGS, "default", {"pipeline": name}, activate=True)
        self._default = name

    @property
    def served(self) -> dict[str, Recommender]:
        """All pipelines in service by name."""
        return dict(self._recommenders)

    def forget(self, users: Sequence[str]) -> None:
        """Take users out of every pipeline in memory; what is saved is done by the erasure of the files."""
        with self._lock:
            for served in self._recommenders.values():
                pipeline = served.current.pipeline.forget(users)
                pipeline._data = served.current.pipeline.data
                served.current = replace(served.current, pipeline=pipeline)
                served.previous = None

    # --------------------------------------------------------------- changes
    def refresh(self) -> bool:
        """Take up new items and newly published pipelines; whether anything changed."""
        with self._lock:
            changed = self._take_items()
            self._documents.update({kind: (time.monotonic(), self.shelf.names(kind)) for kind in list(self._documents)})
            self._count()
            told = self.shelf.get(SETTINGS, "default")
            self._default = self._default if told is None else str(told.body["pipeline"])
            if self._catalog is not None:
                changed = self._take_pipelines(self._catalog) or changed
                self._spread(self._catalog)
            return changed

    def _take_items(self) -> bool:
        changed: list[ItemRow] = []
        seen = self._seen
        while page := self.shelf.items(after_version=seen, most=PAGE):
            changed += page
            seen = page[-1].version
        words, made = self.shelf.get(SETTINGS, VOCABULARY), self._plain
        worded = 0 if words is None else words.version
        if not changed and (made is None or worded == self._worded):
            return False
        if changed:
            lang = str(self.settings.get("lang", "en"))
            made = catalog_of(changed, lang=lang) if made is None else grown(made, changed)
        assert made is not None
        self._catalog = made if words is None else with_vocabulary(made, words.body)
        self._plain = made
        self._seen, self._worded = seen, worded  # last, so that what could not be taken up is read again
        return True

    def _spread(self, catalog: Catalog) -> None:
        """Let every pipeline serve this catalog; also those that an earlier refresh, which failed, did not reach."""
        for name, served in self._recommenders.items():
            if self._reached.get(name) is catalog:
                continue
            try:
                served.swap(on_catalog(served.current, catalog, self._counts))
            except Exception as error:  # one that cannot take the items up must not keep them from the others
                self.broken[name] = f"version {served.current.version}: {error}"
                continue
            self._reached[name] = catalog

    def _count(self) -> None:
        """Count new events per item, for the list of last resort."""
        counts, self._counted = self.shelf.item_counts(self._counted)
        self._counts.update(counts)

    def _take_pipelines(self, catalog: Catalog) -> bool:
        changed, like = False, self.settings.get("like")
        for version in self.shelf.names(KIND):
            served = self._recommenders.get(version.name)
            if served is not None and _is(served.current, version):
                self.broken.pop(version.name, None)
                continue
            try:
                made = generation_of(version, self.folder, catalog, self._counts, like, self._memory)
            except Exception as error:  # a version that cannot be read must not end the service of the others
                self.broken[version.name] = f"version {version.version}: {error}"
                continue
            self.broken.pop(version.name, None)
            self._serve(made)
            self._reached[made.name] = catalog
            changed = True
        return changed

    def _serve(self, made: Generation) -> None:
        served = self._recommenders.get(made.name)
        if served is not None:
            rewritten = served.current.version == made.version  # an erasure took somebody out of its files
            served.swap(made)
            served.previous = None if rewritten else served.previous
            return
        self._recommenders[made.name] = Recommender(made, self._histories, self.name, *self._batching)
        self._default = self._default or made.name

    def _histories(self, users: Sequence[str], sessions: Sequence[str]) -> dict[str, list[EventRow]]:
        return self.shelf.histories(users, sessions, HISTORY)

    def close(self, seconds: float = 10.0) -> None:
        """Answer what waits and stop."""
        end = time.monotonic() + seconds
        for served in self._recommenders.values():
            served.close(max(end - time.monotonic(), 0.1))


def _is(served: Generation, version: Versioned) -> bool:
    """Whether this is what is served: the same version, from the same files, which an erasure writes anew."""
    return served.version == version.version and served.path == version.body["path"]
