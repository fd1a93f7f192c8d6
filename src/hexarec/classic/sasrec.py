"""SASRec: a causal transformer over the history that predicts the next item.

Source: Kang and McAuley 2018, "Self-Attentive Sequential Recommendation", ICDM, arXiv:1808.09781; the full
cross-entropy as in Klenitskiy and Vasilev 2023, arXiv:2309.07602.
Idea: embed the last `length` liked items with their places, attend to the past, score the next item by its embedding.
Differs: cross-entropy over the catalog instead of one drawn item; pre-norm; left-aligned sequences batched by length.
Cost: per event about 12 width^2 per block and 6 width n_items for the loss; early stopping decides the epochs.
Needs: ratings, torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from hexarec.classic._sasrec_data import Sequences, batches, ndcg, padded, validation
from hexarec.classic._sasrec_train import Checkpoint, copied, network, restored, train_epoch
from hexarec.classic._shared import Floats, folded, popularity, product, settled
from hexarec.core import (
    Dataset,
    Holdout,
    Lists,
    OptionError,
    PerUser,
    Queries,
    at_least,
    best,
    digest,
    options_digest,
    ready,
    rescored,
    rng,
    seed_words,
    track,
)


@dataclass
class SASRec:
    """Self-attention over the history."""

    width: int = 64
    """Length of a vector."""
    blocks: int = 2
    """Transformer layers."""
    heads: int = 1
    """Attention heads per layer; must divide `width`."""
    hidden: int = 256
    """Width of the feed-forward layer."""
    length: int = 200
    """How many of the newest liked events are read."""
    dropout: float = 0.2
    """Share of activations dropped in training."""
    epochs: int = 25
    """Most passes over the log."""
    patience: int = 5
    """Stop after this many epochs without a better validation NDCG@10."""
    share: float = 0.1
    """Newest share of the log held out for early stopping (without a clock: the last event of each user)."""
    asked: int = 2000
    """Most users asked at a validation."""
    refit: bool = False
    """Train once more on everything, for as many epochs as validation chose."""
    rate: float = 0.003
    """Step of Adam at the start; it falls linearly to a tenth at `epochs`."""
    positions: int = 4096
    """Events per step."""
    windows: Literal["last", "all"] = "all"
    """Train on the newest `length` events of each user, or on all events in pieces cut anew each epoch."""
    loss: Literal["full", "sampled"] = "full"
    """Cross-entropy over the catalog, or over the target and `negatives` uniform draws per step."""
    negatives: int = 512
    """Draws per step of the sampled loss."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number type of the full loss; auto takes bfloat16 where the processor multiplies it in hardware."""
    _net: Any = field(default=None, init=False, repr=False, compare=False)

    def fit(self, data: Dataset, *, seed: int = 0) -> Self:
        """Learn the network, stopping early. Raises OptionError for bad options, MissingExtraError without torch."""
        at_least(
            self, width=1, blocks=1, heads=1, hidden=1, length=1, epochs=1, patience=0, asked=1, rate=0, positions=1,
            negatives=1,
        )  # fmt: skip
        if self.width % self.heads or not 0.0 <= self.dropout < 1.0:
            raise OptionError("width must be a multiple of heads, dropout in [0, 1)")
        self._net = None
        self.key_, self.popular_, self.n_items_ = data.catalog.key, popularity(data), data.n_items
        cut = validation(data, self.share, self.asked, seed)
        train = Sequences.of(data.queries() if cut is None else cut.train.queries(), self.n_items_)
        self.curve_: list[float] = []
        self._train(train, cut, seed, self.epochs, digest(options_digest(self), data.key, seed))
        if self.refit and cut is not None:
            chosen = int(np.argmax(self.curve_)) + 1
            self._train(Sequences.of(data.queries(), self.n_items_), None, seed, chosen, "")
        queries = data.queries()
        vectors = self._states(queries)
        self.users_ = PerUser.of(data.users.ids, vectors, np.asarray(vectors.any(axis=1)))
        return self

    def _shape(self) -> dict[str, Any]:
        names = ("length", "width", "blocks", "heads", "hidden", "dropout")
        return {"n_items": self.n_items_, **{name: getattr(self, name) for name in names}}

    def _train(self, train: Sequences, cut: Holdout | None, seed: int, epochs: int, name: str) -> None:
        """Fill `weights_` with the best epoch; a run with a scratch place resumes after its last whole epoch."""
        net = network(seed, **self._shape())
        import torch

        with torch.random.fork_rng(devices=[]):
            adam = torch.optim.Adam(net.parameters(), self.rate, betas=(0.9, 0.98), fused=True)
            self._net = net
            kept = Checkpoint(name)
            done, self.curve_, chosen = kept.resume(net, adam, self.curve_)
            for epoch in track(range(done, 0 if train.empty else epochs), "epoch"):
                if cut is not None and len(self.curve_) - int(np.argmax(self.curve_ or [0])) > self.patience:
                    break
                torch.manual_seed(seed_words(seed, "sasrec", epoch) % 2**63)
                train_epoch(self, net, adam, batches(train, self, rng(seed, "sasrec", epoch)), epoch)
                self.weights_ = copied(net)
                settled("SASRec", *self.weights_.values())
                if cut is not None:
                    self.curve_.append(ndcg(self.retrieve(cut.queries, 10), cut.truth))
                if cut is None or self.curve_[-1] >= max(self.curve_):
                    chosen = self.weights_
                kept.write(net, adam, epoch + 1, self.curve_, chosen)
        self._net, self.weights_ = None, chosen

    def _network(self) -> Any:
        if self._net is None:
            self._net = restored(self.weights_, self._shape())
        return self._net

    def _states(self, queries: Queries) -> Floats:
        """The state after each history (n, width), zeros without one."""
        import torch

        net = self._network()
        made = np.zeros((len(queries), self.width), np.float32)
        for rows, items, last in padded(Sequences.of(queries, self.n_items_), self.length, 4 * self.positions):
            with torch.inference_mode():
                made[rows] = net(torch.from_numpy(items), torch.from_numpy(last)).numpy()
        return made

    def users(self, queries: Queries) -> Floats:
        """Vectors (n, width) float32: read from the history, else what fit learned, else zeros."""
        ready(self, queries)
        vectors = self._states(queries)
        return folded(queries, vectors, self.users_) if hasattr(self, "users_") else vectors

    def items(self) -> Floats:
        """Vectors (n_items, width) float32."""
        return self.weights_["item.weight"]

    def retrieve(self, queries: Queries, k: int) -> Lists:
        """The k permitted items likeliest to come next; popularity where there is nothing to go by."""
        return best(queries, self._scores, k)

    def rank(self, queries: Queries, candidates: Lists) -> Lists:
        """The candidates by how likely they come next."""
        return rescored(queries, candidates, self._scores, "sasrec")

    def _scores(self, queries: Queries) -> Floats:
        return product(queries, self.users(queries), self.items(), self.popular_)
