"""LoRA tuning beside peft and the transformers `Trainer`: the same batch, adapter, optimiser and number type.

    python benchmarks/engine_train.py [--source smollm2] [--data DIR] [--device cpu] [--repeats 9]

A batch is 8 prompts (64 on a GPU) of 60 to 220 tokens of film titles with the answer Yes or No; LoRA of rank 8 on
queries and values, no dropout, AdamW. Each side runs in a process of its own, which gives its peak memory; the two take
steps in turn, so a noisy moment hits both, and the losses of all steps are compared. A step is everything from the
batch to the updated weights; what the Trainer does before it (its data loader) and after it (its log) stands outside of
the clock.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

RATE = 1e-3
NAMES = {"ours": "hexarec", "peer": "peft + Trainer"}


def titles(data_dir: Path | None) -> list[str]:
    """Real titles of MovieLens-100K when they are there, else made ones of a like length."""
    if data_dir is not None and (data_dir / "ml100k" / "u.item").is_file():
        lines = (data_dir / "ml100k" / "u.item").read_text("latin-1").splitlines()
        return [line.split("|")[1] for line in lines]
    words = ["River", "Night", "The Last", "Return", "of the", "Silent", "Garden", "King", "Love", "City", "Storm"]
    draw = np.random.default_rng(0)
    return [" ".join(draw.choice(words, 3)) + f" ({1950 + n % 50})" for n in range(500)]


def sequences(device: str) -> int:
    """Examples of a batch: what fills the device."""
    return 8 if device == "cpu" else 64


def batch(names: list[str], tokens: Any, size: int) -> Any:
    """`size` examples as ids; the answers are drawn."""
    from hexarec.lm.base import Prompt
    from hexarec.parts.train.examples import Example, encode

    draw, made = np.random.default_rng(1), []
    for wanted in np.linspace(60, 218, size).astype(int):
        liked: list[str] = []
        while True:
            text = f"The user liked: {'; '.join(liked)}. Will the user like {names[0]}? Answer Yes or No."
            prompt = Prompt.user(text)
            if len(tokens.prompt(prompt)) >= wanted - 2:
                break
            liked.append(names[int(draw.integers(len(names)))])
        made.append(Example(prompt, "Yes" if draw.random() < 0.5 else "No"))
    return encode(made, tokens)


def finished(device: str) -> None:
    """Wait until a GPU has done what it was given: its calls return before."""
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


class Clock:
    """Waits for the parent's word before a step, and tells it how long the step took."""

    def __init__(self, device: str) -> None:
        self.started, self.device = 0.0, device

    def begin(self) -> None:
        """Wait for the word."""
        sys.stdin.readline()
        finished(self.device)
        self.started = time.perf_counter()

    def end(self) -> None:
        """Tell the seconds."""
        finished(self.device)
        print(json.dumps({"seconds": time.perf_counter() - self.started}), flush=True)


def ours(base: Any, names: list[str], steps: int, adapter: Path) -> list[float]:
    """The losses of our steps, each of which waits for its turn. Leaves the starting adapter for the other side."""
    from hexarec.core import run
    from hexarec.parts.train.kinds import LoRA
    from hexarec.parts.train.loop import Plan
    from hexarec.parts.train.sft import sft
    from hexarec.parts.train.tunable import Tunable

    tunable = Tunable(base, LoRA(r=8, alpha=16.0, dropout=0.0), seed=1)
    data = batch(names, tunable.tokens, sequences(base.device))
    tunable.save(adapter)
    clock = Clock(base.device)

    def turns(event: dict[str, Any]) -> None:
        if event["done"]:
            clock.end()
        if event["done"] < steps:
            clock.begin()

    plan = Plan(epochs=steps, batch=len(data), rate=RATE, warmup=0.0, schedule="constant", every=steps)
    with run(emit=turns):
        return sft(tunable, data, plan=plan, seed=1).losses


def peer(base: Any, names: list[str], steps: int, adapter: Path) -> list[float]:
    """The losses of the Trainer's steps on the same ids, from the same adapter."""
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from hexarec.lm.hf.artefact import read
    from hexarec.lm.hf.tokens import Tokens

    model = get_peft_model(base.model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
    state = dict(model.named_parameters())
    for name, value in read(adapter).tensors.items():
        place, _, part = name.rpartition(".")
        state[f"base_model.model.{place}.lora_{part}.default.weight"].data.copy_(value)
    data = batch(names, Tokens(base.tokenizer), sequences(base.device))
    rows = [{"input_ids": one.ids, "labels": np.where(one.loss, one.ids, -100)} for one in data.lines]
    clock = Clock(base.device)

    class Turns(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            clock.begin()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            clock.end()

    with tempfile.TemporaryDirectory() as folder:
        told = TrainingArguments(
            folder, per_device_train_batch_size=len(rows), num_train_epochs=steps, learning_rate=RATE, logging_steps=1,
            lr_scheduler_type="constant", weight_decay=0.0, save_strategy="no", report_to=[], disable_tqdm=True,
            use_cpu=base.device == "cpu", remove_unused_columns=False,
        )  # fmt: skip
        trainer = Trainer(model, told, _padded, train_dataset=rows, callbacks=[Turns()])
        trainer.pop_callback(_printer())
        trainer.train()
        return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


def _padded(rows: list[dict[str, Any]]) -> dict[str, Any]:
    import torch

    width = max(len(row["input_ids"]) for row in rows)
    made = {name: torch.full((len(rows), width), fill) for name, fill in (("input_ids", 0), ("labels", -100))}
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for n, row in enumerate(rows):
        for name, value in row.items():
            made[name][n, : len(value)] = torch.from_numpy(value)
        mask[n, : len(row["input_ids"])] = 1
    return {**made, "attention_mask": mask}


def side(name: str, source: str, dtype: str, device: str, data_dir: str, steps: str, adapter: str) -> None:
    """One process: load, wait for turns, tell losses and memory."""
    from hexarec.lm.hf.weights import load

    base = load(source, dtype=dtype, device=device)  # type: ignore[arg-type]
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    losses = {"ours": ours, "peer": peer}[name](base, titles(Path(data_dir)), int(steps), Path(adapter))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"losses": losses, "rss": peak}), flush=True)


class Side:
    """The parent's end of one process."""

    def __init__(self, name: str, *words: str) -> None:
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--side", name, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip
        self.seconds: list[float] = []
        self.told("ready")

    def say(self) -> None:
        """Let it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def told(self, what: str) -> Any:
        """The next thing of this name that it tells; other lines are passed over."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and what in found:
                return found
        self._errors.seek(0)
        raise RuntimeError(f"a side ended ({self._process.wait()}) without {what!r}: {self._errors.read()[-2000:]}")


def rows(source: str, data_dir: str | Path | None, repeats: int, device: str = "cpu") -> list[dict[str, Any]]:
    """One row for each side and number type: median and best tokens per second, ratio, peak memory, loss difference.

    Tokens are the real ones of the batch, without padding. The first step of each side is not timed.
    """
    found: list[dict[str, Any]] = []
    for dtype in ("float32", "bfloat16"):
        found += _compared(source, str(data_dir or ""), repeats, dtype, device)
    return found


def _compared(source: str, data_dir: str, repeats: int, dtype: str, device: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        words = (source, dtype, device, data_dir, str(repeats + 1), f"{folder}/adapter")
        sides = {name: Side(name, *words) for name in NAMES}
        for one in sides.values():
            one.say()  # ours first: it leaves the adapter
            one.say()
            one.told("seconds")
        for _ in range(repeats):
            for one in sides.values():
                one.say()
                one.seconds.append(one.told("seconds")["seconds"])
        ends = {name: one.told("losses") for name, one in sides.items()}
    tokens = _tokens(source, data_dir, sequences(device))
    curves = [np.array(ends[name]["losses"]) for name in NAMES]
    apart = float(np.max(np.abs(curves[0] - curves[1]) / np.abs(curves[1])))
    ratios = [b / a for a, b in zip(sides["ours"].seconds, sides["peer"].seconds, strict=True)]
    return [
        {
            "name": NAMES[name],
            "dtype": dtype,
            "tokens": tokens,
            "tokens per second": tokens / statistics.median(one.seconds),
            "best tokens per second": tokens / min(one.seconds),
            "seconds": one.seconds,
            "ratio": statistics.median(ratios) if name == "ours" else 1.0,
            "ratio of the best": min(sides["peer"].seconds) / min(one.seconds),
            "peak rss MB": ends[name]["rss"],
            "losses": ends[name]["losses"],
            "largest relative difference of losses": apart,
        }
        for name, one in sides.items()
    ]


def _tokens(source: str, data_dir: str, size: int) -> int:
    from hexarec.lm.hf.tokens import Tokens
    from hexarec.lm.hf.weights import load

    tokens = Tokens(load(source, dtype="bfloat16", device="cpu").tokenizer)
    return sum(len(line.ids) for line in batch(titles(Path(data_dir)), tokens, size).lines)


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--source", default="smollm2")
    asked.add_argument("--data", default=None, help="folder that holds ml100k")
    asked.add_argument("--repeats", type=int, default=9)
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--side", nargs=7, default=None, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.side:
        side(*options.side)
        return
    for row in rows(options.source, options.data, options.repeats, options.device):
        best = f"{row['best tokens per second']:.0f}, ratio {row['ratio of the best']:.2f}"
        print(
            f"{row['name']:<15} {row['dtype']:<9} {row['tokens per second']:7.0f} tokens/s, ratio {row['ratio']:.2f} "
            f"(best {best}), peak {row['peak rss MB']:.0f} MB, "
            f"losses apart {row['largest relative difference of losses']:.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
