"""An adapter per request over one base: the engine against the tuned model that was saved."""

import shutil

import numpy as np
import pytest
import torch

from hexarec.core import run
from hexarec.core.errors import ModelError
from hexarec.lm.base import Prompt, Sample
from hexarec.lm.cassette import Cassette
from hexarec.lm.hf.engine import HF
from hexarec.lm.hf.weights import load
from hexarec.parts.train.examples import Example, Form, encode
from hexarec.parts.train.kinds import Bottleneck, LoRA, PrefixTuning, PromptTuning, PTuning
from hexarec.parts.train.loop import Plan
from hexarec.parts.train.sft import label_scores, sft
from hexarec.parts.train.tunable import Tunable

KINDS = [LoRA(r=4), Bottleneck(), PromptTuning(), PTuning(), PrefixTuning()]
PROMPTS = [Prompt.plain(f"The user liked Heat (1995) and film {n}. Fargo? Answer Yes or No:") for n in range(6)]
SHORT = Sample(max_tokens=5)
EXAMPLES = [Example(prompt, "Yes" if n % 2 else "No") for n, prompt in enumerate(PROMPTS)]


@pytest.fixture(scope="module")
def tuned(llama_dir, tmp_path_factory):
    """Each kind's folder, and the log-odds of Yes that the tuned model itself gives."""
    made = {}
    for kind in KINDS:
        base = load(str(llama_dir), dtype="float32")
        tunable = Tunable(base, kind, seed=3)
        data = encode(EXAMPLES, tunable.tokens, Form(labels=("Yes", "No")))
        sft(tunable, data, plan=Plan(epochs=4, batch=3, rate=0.05))
        folder = tunable.save(tmp_path_factory.mktemp("tuned") / kind.name)
        made[kind.name] = str(folder), label_scores(tunable, data)
    return made


def odds(engine, adapter=None):
    asked = [Prompt(raw=prompt.raw, adapter=adapter) for prompt in PROMPTS]
    rows = engine.label(asked, ["Yes", "No"])
    return rows[:, 0] - rows[:, 1]


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_the_engine_gives_what_was_tuned_and_leaves_the_base_alone(llama_dir, tuned, kind):
    engine = HF(str(llama_dir), dtype="float32")
    bare, (folder, wanted) = odds(engine), tuned[kind]
    found = odds(engine, folder)
    assert np.allclose(found, wanted[:, 0] - wanted[:, 1], atol=1e-3)
    assert np.abs(found - bare).max() > 0.05, "tuning changed something"
    engine.prefixes.forget()
    assert np.array_equal(odds(engine), bare)


def test_requests_with_different_adapters_share_a_call(llama_dir, tuned):
    engine = HF(str(llama_dir), dtype="float32")
    folders = [None, *(folder for folder, _ in tuned.values())]
    asked = [Prompt(raw=PROMPTS[0].raw, adapter=folder) for folder in folders]
    together = engine.score(asked, [["Fargo", "Heat (1995)"]] * len(asked))
    for prompt, row in zip(asked, together, strict=True):
        engine.prefixes.forget()
        alone = engine.score([prompt], [["Fargo", "Heat (1995)"]])[0]
        assert np.allclose(row.logprobs, alone.logprobs, atol=1e-4)
    assert len({float(row.logprobs[0]) for row in together}) == len(asked)
    texts = [a.text for a in engine.generate([Prompt(raw=p.raw, adapter=p.adapter) for p in asked])]
    assert texts[0] == engine.generate([asked[0]])[0].text


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_what_an_adapter_puts_in_front_is_kept_with_the_prompt(llama_dir, tuned, kind):
    warm, cold = HF(str(llama_dir), dtype="float32"), HF(str(llama_dir), dtype="float32", prefix_mb=0)
    begin = " ".join(f"Film {n} ({1960 + n})," for n in range(9))
    asked = [
        Prompt(raw=f"{begin}{more}", adapter=tuned[kind][0]) for more in (" next:", " Heat (1995), next:", " next:")
    ]
    texts = ["Heat (1995)", "Fargo", "Alien (1979)"]
    for place, prompt in enumerate(asked):
        with run() as work:
            found = warm.score([prompt], [texts])[0].logprobs
        assert np.allclose(found, cold.score([prompt], [texts])[0].logprobs, atol=1e-4)
        assert (work.ledger.snapshot()["tokens_cached"] > 40) == (place > 0), "only the first was read whole"
    said = [
        engine.generate([Prompt(raw=begin, adapter=tuned[kind][0], sample=SHORT)])[0].text for engine in (warm, cold)
    ]
    assert said[0] == said[1]
    bare = [engine.score([Prompt(raw=asked[0].raw)], [texts])[0].logprobs for engine in (warm, cold)]
    assert np.allclose(bare[0], bare[1], atol=1e-4), "nobody else finds it"


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_what_stands_in_front_leaves_less_room_in_a_forward(llama_dir, tuned, kind, beside):
    whole, small = (HF(str(llama_dir), dtype="float32", prefix_mb=mb, rows=n) for mb, n in ((0, 4096), (256, 64)))
    small.worker.body.beside = beside
    texts = ["Heat (1995)", "Fargo", "Alien (1979)"]
    for length in range(34, 72):
        asked = [
            Prompt(raw="x" * length, adapter=tuned[kind][0]),
            Prompt(raw="y" * (length // 2), adapter=tuned[kind][0]),
        ]
        for one, other in zip(*(engine.score(asked, [texts] * 2) for engine in (whole, small)), strict=True):
            assert np.allclose(one.logprobs, other.logprobs, atol=1e-4), length


def test_a_warm_prefix_is_of_one_adapter(llama_dir, tuned):
    engine = HF(str(llama_dir), dtype="float32")
    folder = tuned["lora"][0]
    first = odds(engine, folder)
    with run() as work:
        odds(engine)
    assert work.ledger.tokens_cached == 0
    with run() as work:
        again = odds(engine, folder)
    assert work.ledger.tokens_cached > 0 and np.allclose(first, again, atol=1e-4)


def test_an_adapter_of_another_base_is_refused(qwen2_dir, tuned):
    engine = HF(str(qwen2_dir), dtype="float32")
    with pytest.raises(ModelError, match="weights|config"):
        odds(engine, tuned["lora"][0])
    with pytest.raises(ModelError):
        odds(engine, "no/such/folder")
    assert torch.isfinite(torch.tensor(odds(engine))).all()


def test_a_cassette_tells_weights_number_types_and_retuned_adapters_apart(llama_dir, tuned, tmp_path):
    engine, folder = HF(str(llama_dir), dtype="float32"), tmp_path / "taste"
    tape = Cassette(engine)
    bare = odds(tape)
    for kind in ("lora", "bottleneck"):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tuned[kind][0], folder)
        wanted = tuned[kind][1][:, 0] - tuned[kind][1][:, 1]
        assert np.allclose(odds(tape, str(folder)), wanted, atol=1e-3), f"these are not the odds of {kind}"
    assert tape.hits == 0 and np.array_equal(odds(tape), bare) and tape.hits == len(PROMPTS)
    asked = Prompt(raw="x", adapter=str(folder))
    names = {engine.identity(asked), engine.identity(Prompt.plain("x"))}
    assert len(names | {HF(str(llama_dir), dtype="bfloat16").identity(asked)}) == 3
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="no tuned weights"):
        odds(tape, str(folder))
