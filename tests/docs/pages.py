"""Markdown pages as code: their fenced blocks in order, run in one namespace, outputs compared."""

import contextlib
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)

# Pages are written for the embedded models; here the same lines run on doubles that need no download.
SUBSTITUTIONS = {
    'hexarec.pipeline("default")': 'hexarec.pipeline("default", lm="fake:overlap", text_encoder="tfidf")',
    'open_lm("gguf:smollm2")': 'open_lm("fake:overlap")',
    'open_encoder("minilm")': 'open_encoder("tfidf")',
    'open_lm("hf:smollm2", dtype="float32")': (
        'open_lm(f\'hf:{__import__("tests.lm.hf.tinymodels").lm.hf.tinymodels.llama("model")}\', dtype="float32")'
    ),
    'load("smollm2")': 'load(str(__import__("tests.lm.hf.tinymodels").lm.hf.tinymodels.llama("model")))',
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it starts at, and the text right before the next one."""

    lang: str
    text: str
    line: int
    after: str


def pages():
    """All pages of the project."""
    return [*sorted(ROOT.glob("README*.md")), ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page):
    """The fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    found = list(FENCE.finditer(text))
    stops = [*(one.start() for one in found[1:]), len(text)][: len(found)]
    return [
        Block(one[1], one[2], text[: one.start()].count("\n") + 1, text[one.end() : stop])
        for one, stop in zip(found, stops, strict=True)
    ]


def substituted(code):
    """The code with the embedded models replaced by doubles."""
    for real, double in SUBSTITUTIONS.items():
        code = code.replace(real, double)
    return code


def run_block(block, page, namespace):
    """What the block prints."""
    out = io.StringIO()
    # empty lines in front, so that a traceback names the line of the page
    code = compile("\n" * block.line + substituted(block.text), str(page), "exec")
    with contextlib.redirect_stdout(out):
        exec(code, namespace)
    return out.getvalue()


def expected(all_blocks, place):
    """The ```text block that directly follows a block, or None."""
    if place + 1 < len(all_blocks) and not all_blocks[place].after.strip() and all_blocks[place + 1].lang == "text":
        return all_blocks[place + 1].text
    return None


def same(said, shown):
    """Whether a printed text is what the page shows; a line `...` stands for any lines, `...` in a line for any text."""
    lines = [line.rstrip() for line in shown.strip("\n").split("\n")]
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else ".*?".join(map(re.escape, line.split("..."))) + r"\n" for line in lines
    )
    text = "".join(f"{line.rstrip()}\n" for line in said.strip("\n").split("\n"))
    return re.fullmatch(pattern, text) is not None


def shell_lines(block):
    """The `hexarec ...` lines of a console block as lists of words, comments gone, `&&` taken apart."""
    out = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if not line.strip().removeprefix("$ ").startswith("hexarec "):
            continue
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        part = []
        for word in [*words, "&&"]:
            if word in ("&&", ";", "|"):
                if part and part[0] == "hexarec":
                    out.append(part[1:])
                part = []
            else:
                part.append(word)
    return out
