"""DIN: each candidate weighs the items of the history for itself before it is scored.

Source:  Zhou et al. 2018, "Deep Interest Network for Click-Through Rate Prediction", KDD, arXiv:1706.06978.
Idea:    a user has many interests and a candidate concerns few of them: a small network weighs each past item against
         the candidate, the weighted sum (its weights are no shares) and the candidate's vector go through an MLP.
Differs: items are the only features, so a user never met is served like a known one; the history is that of likes;
         plain weight decay instead of the mini-batch-aware one; the outer product in the weighing is the elementwise
         one, as in the authors' code.
Cost:    per candidate and event of the history one pass through the weighing network: a ranker, no retriever.
Needs:   ratings, torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hexarec.classic._din_train import asked, network, restored, train_epoch
from hexarec.classic._pairs import sigmoid
from hexarec.classic._sasrec_train import Checkpoint, copied
from hexarec.classic._shared import Floats, settled
from hexarec.core import (
    Dataset,
    History,
    Lists,
    OptionError,
    Queries,
    at_least,
    digest,
    options_digest,
    ragged,
    ready,
    rng,
    seed_words,
    track,
)
from hexarec.metrics.labels import Pairs, auc
from hexarec.parts.pointwise import Cases, Negatives, split_cases


@dataclass
class DIN:
    """A pointwise ranker whose user depends on the candidate."""

    width: int = 32
    """Length of a vector."""
    last: int = 50
    """Newest liked events that are weighed."""
    attention: Sequence[int] = (80, 40)
    """Layers of the network that weighs."""
    hidden: Sequence[int] = (200, 80)
    """Layers of the network that scores."""
    dropout: float = 0.2
    """Share of activations dropped in the scoring network."""
    negatives: Negatives = "drawn"
    """What was not liked: as the log says it, or drawn among items that the user never met."""
    epochs: int = 20
    """Most passes over the cases."""
    patience: int = 3
    """Stop after this many epochs without a better AUC of validation."""
    share: float = 0.1
    """Newest part of the log, which validates."""
    rate: float = 0.001
    """Step of AdamW."""
    decay: float = 0.01
    """Weight decay."""
    batch: int = 256
    """Cases per step."""
    _net: Any = field(default=None, init=False, repr=False, compare=False)

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Learn the network, stopping early. Raises DataError for a log without both labels, OptionError as `BPR`."""
        at_least(self, width=1, last=1, attention=1, hidden=1, epochs=1, patience=0, rate=0, decay=0, batch=2)
        if not 0.0 <= self.dropout < 1.0:
            raise OptionError(f"dropout is {self.dropout}, not in [0, 1)")
        self._net, self.key_, self.n_items_ = None, data.catalog.key, data.n_items
        train, valid = split_cases(data, self.share, negatives=self.negatives, seed=seed)
        self._train(train, valid, seed, digest(options_digest(self), data.key, seed))
        known = np.zeros(self.n_items_, bool)
        known[train.item] = known[train.queries.history.item] = True
        self.weights_["item.weight"][~known] = 0.0  # the vector of an item that was never seen is still a draw
        return self

    def _train(self, train: Cases, valid: Cases, seed: int, name: str) -> None:
        """Fill `weights_` with the best epoch; a run with a scratch place resumes after its last whole epoch."""
        net = network(seed, **self._shape())
        import torch

        adam = torch.optim.AdamW(net.parameters(), self.rate, weight_decay=self.decay, fused=True)
        kept, both = Checkpoint(name, "din"), bool(valid.liked.any() and not valid.liked.all())
        done, self.curve_, self.weights_ = kept.resume(net, adam, [])
        past, last = self._past(train.queries), self._past(valid.queries)
        parts = -(-len(train) // self.batch)
        with torch.random.fork_rng(devices=[]):
            for epoch in track(range(done, self.epochs), "epoch"):
                if len(self.curve_) - int(np.argmax(self.curve_ or [0])) > self.patience:
                    break
                torch.manual_seed(seed_words(seed, "din", epoch) % 2**63)
                groups = np.array_split(rng(seed, "din", epoch).permutation(len(train)), parts)
                train_epoch(net, adam, past, train.item, train.liked, groups)
                settled("DIN", *copied(net).values())
                if both:
                    odds = asked(np.zeros(len(valid), np.float32), net, last, np.arange(len(valid)), valid.item)
                    self.curve_.append(auc(Pairs.of(valid.liked.astype(np.float64), odds)))
                if not both or self.curve_[-1] >= max(self.curve_):
                    self.weights_ = copied(net)
                kept.write(net, adam, epoch + 1, self.curve_, self.weights_)

    def _shape(self) -> dict[str, Any]:
        sizes = {"attention": tuple(self.attention), "hidden": tuple(self.hidden)}
        return {"n_items": self.n_items_, "width": self.width, "dropout": self.dropout, **sizes}

    def _past(self, queries: Queries) -> History:
        """The newest liked events of items that `fit` knew."""
        past = queries.history
        return past.where(past.liked & (past.item < self.n_items_)).last(self.last)

    def _asked(self, queries: Queries, lists: Lists, vectors: bool) -> tuple[NDArray[np.bool_], Floats]:
        """Which listed items `fit` knew, and for those the interests (m, width) or the log-odds (m,)."""
        ready(self, queries, lists)
        if self._net is None:
            self._net = restored(self.weights_, self._shape())
        known = np.asarray(lists.items < self.n_items_)
        row, item = ragged.segments(lists.offsets)[known], lists.items[known]
        made = np.zeros((len(row), self.width) if vectors else len(row), np.float32)
        return known, asked(made, self._net.interest if vectors else self._net, self._past(queries), row, item)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by the probability that they are liked; NaN for items that came after `fit`."""
        known, odds = self._asked(queries, candidates, vectors=False)
        scores = np.full(len(candidates.items), np.nan, np.float32)
        scores[known] = sigmoid(odds)
        return candidates.scored(scores, "din")

    def pairs(self, queries: Queries, lists: Lists) -> tuple[Floats, Floats]:
        """Vectors of the user and of the item, both (len(lists.items), width), for each listed item.

        A user has one for each item. Zeros for users without history, and for items that came after `fit`.
        """
        known, interests = self._asked(queries, lists, vectors=True)
        users, items = np.zeros((2, len(lists.items), self.width), np.float32)
        users[known], items[known] = interests, self.weights_["item.weight"][lists.items[known]]
        return users, items
