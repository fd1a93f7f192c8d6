"""The prompts as they reach a model, compared with the files beside this one.

When wording changes on purpose, write the files anew and say why in the change:

    pytest tests/golden --golden
"""

from dataclasses import replace
from pathlib import Path

import pytest

from hexarec.core import Catalog, Item, Lists, Queries
from hexarec.data.worlds import world
from hexarec.lm.fake import Overlap
from hexarec.methods.llmrank import PROMPTS, VARIANTS, LLMRank

FOLDER = Path(__file__).parent / "prompts"
CATALOG = Catalog.of(
    [
        Item("alien", "Alien (1979)", titles={"zh": "异形"}),
        Item("heat", "Heat (1995)", titles={"zh": "盗火线"}),
        Item("pi", "Pi (1998)", titles={"zh": "死亡密码"}),
        Item("story", "Toy Story (1995)", titles={"zh": "玩具总动员"}),
        Item("story2", "[A] Toy Story 2\n(1999)", titles={"zh": "玩具总动员2"}),
        Item("m", "M (1931)", titles={"zh": "M就是凶手"}),
    ]
)


class Recording(Overlap):
    """Remembers every prompt it was given, whatever the call."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def generate(self, prompts, within=None):
        self.seen += [prompt.text for prompt in prompts]
        return super().generate(prompts, within)

    def label(self, prompts, labels):
        self.seen += [f"{prompt.text}\n<{' | '.join(labels)}>" for prompt in prompts]
        return super().label(prompts, labels)

    def score(self, prompts, choices):
        self.seen += [f"{prompt.text}<{' |'.join(texts)}>" for prompt, texts in zip(prompts, choices, strict=True)]
        return super().score(prompts, choices)


def rendered(lang):
    """Every variant and every back end of LLMRank for one user, as one text."""
    queries = Queries.one(CATALOG, user="u", history=["alien", "heat", "pi"], lang=lang)
    candidates = Lists.of(CATALOG.key, [[3, 4, 5]])
    data = replace(world("cold").data, catalog=CATALOG)
    parts = [f"{PROMPTS.id} version {PROMPTS.version}"]
    cases = [("list", variant) for variant in VARIANTS]
    cases += [
        (backend, "recency") for backend in ("constrained", "choice", "pointwise", "pairwise", "likelihood", "pmi")
    ]
    for backend, variant in cases:
        lm = Recording()
        LLMRank(lm, backend, variant, rounds=1, domain="film", opponents=1).fit(data).rank(queries, candidates)
        parts += [f"=== {backend}, {variant}", lm.seen[0], *([f"--- and\n{lm.seen[-1]}"] if backend == "pmi" else [])]
    return "\n".join(parts) + "\n"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_llmranks_prompts_read_as_agreed(lang, request):
    path = FOLDER / f"llmrank.{lang}.txt"
    if request.config.getoption("--golden"):
        path.write_text(rendered(lang), "utf-8")
    assert rendered(lang) == path.read_text("utf-8"), (
        f"{path.name} differs: if that is meant, run pytest tests/golden --golden"
    )


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_piece_of_wording_stands_in_the_golden_file(lang):
    text = (FOLDER / f"llmrank.{lang}.txt").read_text("utf-8")
    for name, piece in getattr(PROMPTS, lang).items():
        fixed = [part.split("}")[-1].strip() for part in piece.split("{")]
        words = max(fixed, key=len)
        assert words.splitlines()[0] in text, f"no golden prompt uses {name!r}"


def test_a_changed_word_is_seen():
    loud = replace(PROMPTS, en={**PROMPTS.en, "choice": PROMPTS.en["choice"].replace("Which", "WHICH")})
    lm = Recording()
    queries = Queries.one(CATALOG, user="u", history=["alien"])
    ranker = LLMRank(lm, "choice", rounds=1, domain="film", prompts=loud).fit(
        replace(world("cold").data, catalog=CATALOG)
    )
    ranker.rank(queries, Lists.of(CATALOG.key, [[3]]))
    assert lm.seen[0] not in (FOLDER / "llmrank.en.txt").read_text("utf-8")
