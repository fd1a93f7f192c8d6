"""Nouns and verbs: the types every stage speaks. Needs numpy, scipy.sparse and the standard library."""

from hexarec.core.cards import Card
from hexarec.core.catalog import Catalog, Item
from hexarec.core.dataset import Dataset, Features, Graph, Users
from hexarec.core.errors import (
    BudgetError,
    CancelledError,
    CapabilityError,
    DataError,
    DeadlineError,
    HexarecError,
    LineageError,
    MissingExtraError,
    ModelError,
    OptionError,
    RetryableModelError,
    StateError,
)
from hexarec.core.exposures import Exposures, Holdout, after, holdout, truth_of
from hexarec.core.filters import Filter
from hexarec.core.ids import IdTable, digest, same_lineage, strings
from hexarec.core.interactions import KINDS, Event, History, Interactions
from hexarec.core.lists import Lists, RankedList, best, fuse, rescored
from hexarec.core.options import fitted, forget, fresh, learned, option_names, options_digest, variant
from hexarec.core.peruser import PerUser
from hexarec.core.queries import Queries, Query
from hexarec.core.run import Budget, Cancel, Ledger, Run, current, pool, run, track
from hexarec.core.seeds import rng, seed_words
from hexarec.core.state import load, manifest, save, state_digest
from hexarec.core.verbs import (
    STAGES,
    Backbone,
    Controller,
    Conversationalist,
    Desk,
    Enricher,
    Explainer,
    Extends,
    Fitted,
    Forgets,
    Learner,
    Ranker,
    Retriever,
    Tuner,
    UserModel,
    stages_of,
)
from hexarec.core.words import (
    Answer,
    Claim,
    Degraded,
    Dialogue,
    Evidence,
    Message,
    Reasons,
    Reply,
    Span,
    Step,
    Words,
)

__all__ = [name for name in dir() if name[:1].isupper()] + [
    "after", "best", "current", "digest", "fitted", "forget", "fresh", "fuse", "holdout", "learned", "load",
    "manifest", "option_names", "options_digest", "pool", "rescored", "rng", "run", "same_lineage", "save",
    "seed_words", "stages_of", "state_digest", "strings", "track", "truth_of", "variant",
]  # fmt: skip
