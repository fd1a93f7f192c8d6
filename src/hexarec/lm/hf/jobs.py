"""Prompts with what stands behind each, cut into requests that fit a forward, with warm prefixes put in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hexarec.core.run import current
from hexarec.lm.hf.attention import Prefix
from hexarec.lm.hf.forward import Piece, Request, States
from hexarec.lm.hf.packing import Pack, blocks, pack
from hexarec.lm.hf.prefixes import Prefixes
from hexarec.lm.hf.worker import Worker

Ints = NDArray[np.int32]
ALIKE = 64  # tokens from which a common beginning is worth a forward of its own
PLACES = 2**23  # places of the blocks of a forward, squared: some hundred megabytes of scores for ten heads


@dataclass(frozen=True, eq=False)
class Setting:
    """What all jobs of a call share: the adapter's digest, how it is switched on, and what it puts in front.

    lead: tokens in front of every prompt, with `vectors` of those below 0; past: keys and values in front of each.
    """

    adapter: str = ""
    using: Callable[[], AbstractContextManager[Any]] = nullcontext
    lead: Sequence[int] = ()
    vectors: Mapping[int, Tensor] = field(default_factory=dict)
    past: Prefix | None = None
    length: int = 0
    """Positions that lead or past take."""


@dataclass(eq=False)
class Job:
    """A prompt's `tokens` and the `sequences` behind it that are to be read; those below 0 stand for `vectors`."""

    tokens: Sequence[int]
    sequences: Sequence[Sequence[int]] = ()
    vectors: Mapping[int, Tensor] = field(default_factory=dict)
    read: int = 0
    """Tokens that the job was answered from; filled in by the run."""
    cached: int = 0
    """Those of them that were warm."""
    goes_on: bool = False
    """Whether something goes on behind the tokens, so that `after` is wanted."""
    after: Prefix | None = None
    """Keys and values of all tokens."""


@dataclass(eq=False)
class Seen:
    """The states behind one job: (d,) of the prompt's last token and (nodes, d) of the pack's nodes.

    offset: the number of the first node, where a job was cut into several forwards; paths hold only whole sequences.
    """

    last: Tensor
    nodes: Tensor
    rows: list[int] = field(default_factory=list)
    """The sequences that this part holds."""
    paths: list[Ints] = field(default_factory=list)
    """Their nodes, as row numbers of `nodes`."""


@dataclass(eq=False)
class _Part:
    """A stretch of a job: fresh tokens of its prompt from place `at` on, and blocks of nodes behind the whole prompt.

    reads: whether it is read, which a stretch of the prompt that others follow is not. last: no part comes after it.
    """

    job: int
    prefix: Prefix
    fresh: Sequence[int]
    at: int
    made: Pack
    rows: list[int]
    reads: bool = True
    last: bool = True

    @property
    def size(self) -> int:
        return len(self.fresh) + len(self.made.tokens)


@dataclass(frozen=True)
class _Load:
    """What parts ask of a forward: tokens, and blocks of nodes that are all made as wide as the widest."""

    tokens: int = 0
    blocks: int = 0
    wide: int = 0

    def plus(self, part: _Part) -> _Load:
        made = part.made
        return _Load(self.tokens + part.size, self.blocks + len(made.starts) - 1, max(self.wide, made.width))

    def fits(self, rows: int) -> bool:
        return self.tokens <= rows and self.blocks * self.wide**2 <= PLACES


class Jobs:
    """Runs jobs on a worker; results come in the order of the jobs, part by part."""

    def __init__(self, worker: Worker, prefixes: Prefixes, model: str) -> None:
        self._worker, self._prefixes, self._model = worker, prefixes, model

    def run(self, jobs: Sequence[Job], setting: Setting, read: Callable[[int, Seen], Any]) -> list[list[Any]]:
        """What `read(job, seen)` returns, for every part of every job. `read` runs in the worker's thread."""
        found: list[list[Any]] = [[] for _ in jobs]
        last: dict[int, Tensor] = {}
        order = sorted(range(len(jobs)), key=lambda j: len(jobs[j].tokens))
        for batch in self._batches(jobs, order, setting):
            request = _request(batch, jobs, setting)
            made = self._worker.ask(request, partial(_read, batch, last, read), setting.using, setting.adapter)
            for part, one in zip(batch, made, strict=True):
                job = jobs[part.job]
                if part.reads:
                    found[part.job].append(one)
                if job.goes_on:
                    job.after = part.prefix
                if part.fresh and part.reads:
                    self._keep(job, part.prefix, setting)
        return found

    def _batches(self, jobs: Sequence[Job], order: list[int], setting: Setting) -> Iterator[list[_Part]]:
        """Parts that together fit a forward; a block of nodes that is too large goes alone.

        A prompt that begins like one of the batch waits for the next, where that beginning is warm.
        """
        batch: list[_Part] = []
        begun: set[tuple[int, ...]] = set()
        load = _Load()
        beside = self._worker.body.beside and len(jobs) > 1
        for number in order:
            start = tuple(jobs[number].tokens[:ALIKE])
            if start in begun and self._would_be_warm(jobs[number], setting, beside):
                yield batch
                batch, begun, load = [], set(), _Load()
            for part in self._parts(jobs[number], number, setting, beside):
                # what follows in a prompt needs the keys of what stands before it
                if batch and (batch[-1].job == number or not load.plus(part).fits(self._worker.rows)):
                    yield batch
                    batch, begun, load = [], set(), _Load()
                batch.append(part)
                load = load.plus(part)
            begun.add(start)
        if batch:
            yield batch

    def _would_be_warm(self, job: Job, setting: Setting, beside: bool) -> bool:
        """Whether a beginning of the prompt can be kept and is not: what the batch computes now is then found."""
        if len(job.tokens) <= ALIKE or not self._prefixes.keeps or _least(job, beside) > ALIKE:
            return False
        found = self._prefixes.find(self.scope(setting), job.tokens)
        return found is None or found.length - setting.length < ALIKE

    def _parts(self, job: Job, number: int, setting: Setting, beside: bool) -> Iterator[_Part]:
        """Stretches of the prompt, the last with the first blocks where both fit, then the other blocks."""
        prefix, fresh = self._warm(job, setting, beside)
        at, made = len(job.tokens) - len(fresh), pack(job.sequences)
        job.read, job.cached = len(job.tokens) + len(made.tokens), at
        whole = self._worker.body.path == "masked"  # the reference keeps nothing between forwards
        rows = len(job.tokens) + len(made.tokens) + 1 if whole else self._worker.rows - setting.length
        while len(fresh) > rows:
            yield _Part(number, prefix, fresh[:rows], at, pack([]), [], reads=False, last=False)
            fresh, at = fresh[rows:], at + rows
        pieces = list(_cut(made, rows))
        if len(fresh) + len(pieces[0][0].tokens) > rows:
            yield _Part(number, prefix, fresh, at, pack([]), [], reads=False, last=False)
            fresh = []
        for n, (piece, own) in enumerate(pieces):
            yield _Part(number, prefix, fresh, at, piece, own, last=n == len(pieces) - 1)
            fresh = []

    def states(self, jobs: Sequence[Job], setting: Setting, layer: int, pool: str) -> list[NDArray[np.float32]]:
        """(d,) states of each job's tokens after `layer`, pooled; nothing warm is used, since every token is read."""
        deep = layer not in (-1, self._worker.body.layers)
        made: list[NDArray[np.float32]] = []
        for batch in _within(jobs, self._worker.rows):
            parts = [_Part(0, self._start(setting), job.tokens, 0, pack([]), []) for job in batch]
            request = Request([_piece(part, job, setting) for part, job in zip(parts, batch, strict=True)])
            for job in batch:
                job.read = len(job.tokens)
            read = partial(_pooled, batch, layer if deep else None, pool)
            made += self._worker.ask(request, read, setting.using, setting.adapter, layers=deep)
        return made

    def _start(self, setting: Setting) -> Prefix:
        """What stands before every prompt."""
        return self._worker.body.prefix() if setting.past is None else setting.past.head(setting.past.length)

    def scope(self, setting: Setting) -> tuple[str, ...]:
        """Under whose name the prefixes of a call are kept."""
        return self._model, setting.adapter, current().tenant

    def _warm(self, job: Job, setting: Setting, beside: bool) -> tuple[Prefix, Sequence[int]]:
        found = self._prefixes.find(self.scope(setting), job.tokens)
        if found is not None and found.length - setting.length >= _least(job, beside):
            return found, job.tokens[found.length - setting.length :]
        return self._start(setting), job.tokens

    def _keep(self, job: Job, prefix: Prefix, setting: Setting) -> None:
        if prefix.length == setting.length + len(job.tokens):
            self._prefixes.keep(self.scope(setting), job.tokens, prefix)


def _least(job: Job, beside: bool) -> int:
    """Warm tokens from which a prompt goes on by itself: fewer save less than standing beside other prompts does."""
    return len(job.tokens) // 2 if beside else 0


def _within(jobs: Sequence[Job], rows: int) -> Iterator[list[Job]]:
    """Neighbours that fit a forward; a job that is too large goes alone."""
    batch: list[Job] = []
    for job in jobs:
        if batch and sum(len(one.tokens) for one in batch) + len(job.tokens) > rows:
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


def _pooled(batch: list[Job], layer: int | None, pool: str, states: States) -> list[NDArray[np.float32]]:
    made = []
    for n, job in enumerate(batch):
        rows = states.fresh[n] if layer is None else states.layers[n][layer]
        own = rows[-len(job.tokens) :].float()  # without what an adapter puts in front
        made.append(np.asarray((own.mean(0) if pool == "mean" else own[-1]).cpu().numpy()))
    return made


def _cut(made: Pack, room: int) -> Iterator[tuple[Pack, list[int]]]:
    """The pack in stretches of whole blocks of at most about `room` nodes, with the sequences of each."""
    first = np.array([path[0] if len(path) else -1 for path in made.paths], np.int64)
    if len(made.tokens) <= room:
        yield made, list(range(len(made.paths)))
        return
    begin = 0
    while begin < len(made.starts) - 1:
        end = begin + 1
        while end < len(made.starts) - 1 and made.starts[end + 1] - made.starts[begin] <= room:
            end += 1
        low, high = int(made.starts[begin]), int(made.starts[end])
        rows = np.flatnonzero((first >= low) & (first < high) | ((first < 0) & (begin == 0)))
        parent = made.parent[low:high]
        yield (
            Pack(
                made.tokens[low:high],
                made.depth[low:high],
                np.where(parent >= 0, parent - low, parent).astype(np.int32),
                made.starts[begin : end + 1] - low,
                tuple(made.paths[row] - low for row in rows),
            ),
            rows.tolist(),
        )
        begin = end


def _request(batch: list[_Part], jobs: Sequence[Job], setting: Setting) -> Request:
    pieces = [_piece(part, jobs[part.job], setting) for part in batch]
    packs = [blocks(part.made) for part in batch if len(part.made.tokens)]
    if not packs:
        return Request(pieces)
    width = max(index.shape[1] for index, _ in packs)
    sizes = [len(part.made.tokens) for part in batch if len(part.made.tokens)]
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    index = np.concatenate([_wide(i, width) + offset for (i, _), offset in zip(packs, offsets, strict=True)])
    sees = np.concatenate([_wide_mask(s, width) for _, s in packs])
    return Request(pieces, index.astype(np.int32), index.astype(np.int32), sees)


def _piece(part: _Part, job: Job, setting: Setting) -> Piece:
    lead = setting.lead if part.fresh and not part.at else ()
    vectors = {**job.vectors, **setting.vectors} if setting.vectors else job.vectors
    return Piece(part.prefix, [*lead, *part.fresh], part.made.tokens, part.made.depth, vectors)


def _wide(index: Ints, width: int) -> Ints:
    extra = width - index.shape[1]
    return np.concatenate([index, np.repeat(index[:, :1], extra, axis=1)], axis=1) if extra else index


def _wide_mask(sees: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    n = sees.shape[1]
    made = np.zeros((len(sees), width, width), np.bool_)
    made[:, :n, :n] = sees
    made[:, n:, 0] = True
    return made


def _read(batch: list[_Part], last: dict[int, Tensor], read: Callable[[int, Seen], Any], states: States) -> list[Any]:
    made, at = [], 0
    for part, fresh in zip(batch, states.fresh, strict=True):
        if part.fresh:
            last[part.job] = fresh[-1].clone()  # a view would hold the states of the whole forward
        nodes = states.nodes[at : at + len(part.made.tokens)]
        at += len(part.made.tokens)
        seen = Seen(last[part.job], nodes, part.rows, list(part.made.paths))
        made.append(read(part.job, seen) if part.reads else None)
        if part.last:
            del last[part.job]
    return made
