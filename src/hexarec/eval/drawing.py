"""Drawings as SVG: equal numbers give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any


def drawn(draw: Callable[..., None], *, text: str = "path", size: tuple[float, float] = (5.2, 3.4)) -> str:
    """An SVG of one pair of axes, with fixed ids and no date.

    text: "path" draws letters, so that they look alike everywhere; "none" keeps them as text, for scripts that the
    fonts of this machine lack. size: inches.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "svg.hashsalt": "hexarec", "svg.fonttype": text, "font.size": 8, "text.parse_math": False,
    }  # fmt: skip
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    made = out.getvalue()
    return made[made.index("<svg") :]
