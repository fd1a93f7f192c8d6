"""Ways through an item tree: which closed lists are put before whoever chooses, and in what order.

A walk is a generator. It yields pages (closed lists of nodes or of items), receives the same lists in the order of
preference, and ends with items and the leaf each was found in, best first.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from hexarec.core import current
from hexarec.parts.itemtree import NOWHERE, ROOT, View

Found = list[tuple[int, int]]


@dataclass(frozen=True)
class Page:
    """One closed list: nodes, or the items of the leaf `node`, of several leaves where that is NOWHERE.

    With one option or none there is nothing to ask.
    """

    node: int
    options: tuple[int, ...]
    items: bool


Walk = Generator[Sequence[Page], list[list[int]], Found]
Way = Callable[[View, int, int, int], Walk]


def depth_first(view: View, n: int, per_leaf: int, width: int) -> Walk:
    """The best branch to its end, then the next: `per_leaf` items of each leaf, `width` children of each node.

    When that ends before n items are found, the leaves that were opened give what they have left, then the branches
    that were passed over are opened. Source: LLMTreeRec, algorithm 1, which has neither.
    """
    found: Found = []
    left: Found = []
    stack, passed = [ROOT] if view.any() else [], list[int]()
    while len(found) < n and (stack or left or passed):
        if not stack and left:
            found.append(left.pop(0))
            continue
        node = stack.pop() if stack else passed.pop(0)
        children = view.children(node)
        ranked = (yield [_page(view, node)])[0]
        if children:
            stack += ranked[:width][::-1]
            passed += ranked[width:]
        else:
            found += [(item, node) for item in ranked[:per_leaf]]
            left += [(item, node) for item in ranked[per_leaf:]]
    return found[:n]


def beam(view: View, n: int, per_leaf: int, width: int) -> Walk:
    """Level by level, the best `width` of all children of the last level's; then `per_leaf` items of each leaf.

    Source: the released code of LLMTreeRec. A level with more children than fit on a page is decided in heats, and so
    are the items of a beam that finds more than n: the code has a question for that, which it never asks. What is
    missing to n is taken from the same leaves, in turns; branches that were dropped stay closed.
    """
    front = [ROOT] if view.any() else []
    while any(view.children(node) for node in front):
        pool = [child for node in front for child in view.children(node) or [node]]
        front = yield from _heats(pool, width, view.branch, items=False)
    answers = (yield [_page(view, leaf) for leaf in front]) if front else []
    found = [(item, leaf) for leaf, ranked in zip(front, answers, strict=True) for item in ranked[:per_leaf]]
    if len(found) > n:
        leaf_of = dict(found)
        best = yield from _heats(list(leaf_of), n, view.leaf, items=True)
        return [(item, leaf_of[item]) for item in best]
    place = per_leaf
    while len(found) < n and any(len(ranked) > place for ranked in answers):
        found += [(ranked[place], leaf) for leaf, ranked in zip(front, answers, strict=True) if len(ranked) > place]
        place += 1
    return found[:n]


def _heats(
    pool: list[int], width: int, size: int, *, items: bool
) -> Generator[Sequence[Page], list[list[int]], list[int]]:
    """The best `width` of the pool, or all of a smaller one; heats of a page each until one page holds the rest.

    Half of a heat goes on, and more where fewer than `width` would in all. A page that is smaller than `width` drops
    nothing at the end: what is left is ordered a page at a time, the first of each page before the second ones.
    """
    size = max(size, 2)
    while len(pool) > max(size, width):
        heats = _pages(pool, size, items)
        ranked = yield heats
        pool = [node for heat, n in zip(ranked, _quotas(ranked, width), strict=True) for node in heat[:n]]
    ranked = yield _pages(pool, size, items)
    order = sorted((place, heat) for heat, nodes in enumerate(ranked) for place in range(len(nodes)))
    return [ranked[heat][place] for place, heat in order][:width]


def _pages(pool: Sequence[int], size: int, items: bool) -> list[Page]:
    """Pages of about one size, dealt out: a pool begins with what stood high, and a heat sends half of a page on."""
    heats, above = -(-len(pool) // size), NOWHERE if items else ROOT
    return [Page(above, tuple(pool[first::heats]), items) for first in range(heats)]


def _quotas(heats: Sequence[Sequence[int]], width: int) -> list[int]:
    """How many of each heat go on: half of it, `width` at most, and `width` in all at least; the heats hold more."""
    quotas = [min(width, max(len(heat) // 2, 1)) for heat in heats]
    while sum(quotas) < width:
        rest = [len(heat) - n for heat, n in zip(heats, quotas, strict=True)]
        quotas[rest.index(max(rest))] += 1
    return quotas


def proportional(view: View, n: int, per_leaf: int, width: int) -> Walk:
    """Each node passes its share of n on to its `width` best children, by 1 / rank; leaves give their share.

    Ours, for lists that should cover more than the best branch. `per_leaf` is the least share of a child. What a
    small leaf cannot give is taken from the other opened leaves, and where these have no more, depth first.
    """
    shares: dict[int, int] = {ROOT: n} if view.any() else {}
    order: list[int] = list(shares)
    ranked_items: dict[int, list[int]] = {}
    while any(node not in ranked_items for node in order):
        open_ = [node for node in order if node not in ranked_items]
        answers = dict(zip(open_, (yield [_page(view, node) for node in open_]), strict=True))
        grown: list[int] = []
        for node in order:
            if node not in answers:
                grown.append(node)
            elif not view.children(node):
                ranked_items[node] = answers[node]
                grown.append(node)
            else:
                parts = _split(shares[node], min(width, len(answers[node])), per_leaf)
                shares |= dict(zip(answers[node], parts, strict=False))
                grown += answers[node][: len(parts)]
        order = grown
    found = [(item, leaf) for leaf in order for item in ranked_items[leaf][: shares[leaf]]]
    found += [(item, leaf) for leaf in order for item in ranked_items[leaf][shares[leaf] :]]
    if len(found) < n:
        known = {item for item, _ in found}
        more = yield from depth_first(view, n + len(found), per_leaf, width)
        found += [(item, leaf) for item, leaf in more if item not in known]
    return found[:n]


def _split(share: int, ways: int, least: int) -> list[int]:
    """`share` in whole parts by 1 / rank, each at least `least` (fewer ways where that needs it), largest first."""
    ways = max(1, min(ways, share // max(least, 1)))
    weights = [1.0 / rank for rank in range(1, ways + 1)]
    free = share - ways * min(least, share // ways)
    parts = [min(least, share // ways) + int(free * weight / sum(weights)) for weight in weights]
    for place in range(share - sum(parts)):  # what rounding down left
        parts[place % ways] += 1
    return parts


def _page(view: View, node: int) -> Page:
    children = view.children(node)
    return Page(node, tuple(children or view.items(node)), not children)


WAYS: dict[str, Way] = {"depth": depth_first, "beam": beam, "proportional": proportional}


def side_by_side(
    walks: Sequence[Walk], answer: Callable[[Sequence[tuple[int, Page]]], Sequence[Sequence[int]]]
) -> list[Found]:
    """Run the walks in step: one round of the whole batch is one call of `answer`, with each page's walk beside it.

    `answer` gives the options of each page, all of them, in order of preference.
    """
    found: list[Found] = [[] for _ in walks]
    waiting: dict[int, Sequence[Page]] = {}

    def go_on(place: int, answers: list[list[int]] | None) -> None:
        try:
            waiting[place] = next(walks[place]) if answers is None else walks[place].send(answers)
        except StopIteration as end:
            found[place] = end.value

    for place in range(len(walks)):
        go_on(place, None)
    while waiting:
        current().check()
        round_, waiting = waiting, {}
        asked = [(place, page) for place, pages in round_.items() for page in pages if len(page.options) > 1]
        said = iter(answer(asked) if asked else ())
        for place, pages in round_.items():
            go_on(place, [list(next(said)) if len(page.options) > 1 else list(page.options) for page in pages])
    return found
