import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from hexarec.core import atomic
from hexarec.data.health import check, render_terminal, write_html

from ..makers import log_of

DATA = log_of([(u, i, 1.6e9 + 50 * u + i) for u in range(9) for i in range(5)], 9, 5)


def test_the_terminal_report_names_every_finding():
    health = check(replace(DATA, name="[bold]x[/bold]"))
    out = io.StringIO()
    Console(file=out, width=200).print(render_terminal(health))
    assert all(one.name in out.getvalue() for one in health.findings) and "[bold]x[/bold]" in out.getvalue()


def test_one_page_with_plots_and_nothing_to_fetch(tmp_path):
    health = check(replace(DATA, name="<script>alert(1)</script>", simulated=True))
    page = write_html(health, tmp_path / "sub" / "h.html").read_text("utf-8")
    assert page.count("data:image/svg+xml;base64,") == len(health.curves) == 5
    assert "<script" not in page and "&lt;script&gt;" in page and "simulated" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)


def test_a_report_without_plots_and_an_interrupted_one(tmp_path, monkeypatch):
    target = write_html(check(log_of([], 0, 0)), tmp_path / "h.html")
    before = target.read_text()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_html(check(DATA), target)
    assert target.read_text() == before and [p.name for p in tmp_path.iterdir()] == ["h.html"]
