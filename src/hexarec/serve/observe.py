"""What can be seen from outside: Prometheus metrics, OpenTelemetry spans, log lines; names and counts, no content."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from hexarec.serve.live.given import Given

access = logging.getLogger("hexarec.access")
tracer = trace.get_tracer("hexarec")
LOGGERS = ("hexarec", "uvicorn.error", "mcp")
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """The counters of one server process. Anybody may read them: no label is a word of a tenant or a caller."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        more: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("hexarec_requests", "Requests answered", ("route", "method", "status"), **more)
        self.seconds = Histogram("hexarec_request_seconds", "Time to answer", ("route",), buckets=BUCKETS, **more)
        self.stages = Histogram(
            "hexarec_stage_seconds", "Time of a stage", ("stage", "method"), buckets=BUCKETS, **more
        )
        self.degraded = Counter("hexarec_degraded", "Answers in which a stage did not do its work", ("stage",), **more)
        self.tokens = Counter("hexarec_llm_tokens", "Tokens of language models", ("direction",), **more)
        self.calls = Counter("hexarec_llm_calls", "Calls of language models", **more)
        self.cached = Counter("hexarec_llm_cache_hits", "Questions to language models answered from the store", **more)
        self.dollars = Counter("hexarec_llm_dollars", "Cost of language models in US dollars", **more)
        self.events = Counter("hexarec_events", "Events received", ("verdict",), **more)
        self.shown = Counter("hexarec_shown", "Lists shown", **more)
        self.lost = Counter("hexarec_unlogged", "Shown lists that could not be logged", **more)
        self.overload = Counter("hexarec_overload", "Requests refused unread because too many were answered", **more)
        self.waiting = Gauge("hexarec_waiting", "Questions that wait", **more)

    def text(self) -> bytes:
        """All of them in the Prometheus text format."""
        return generate_latest(self.registry)

    def answered(self, given: Given, *, shown: bool) -> None:
        """Count one answered list; what a batch spent is counted by its shares. shown: whether somebody sees it."""
        if shown and given.items:
            self.shown.inc()
        for one in given.degraded:
            self.degraded.labels(one["stage"]).inc()
        for step in given.trace:
            self.stages.labels(step["stage"], step["method"]).observe(step["seconds"])
            self.tokens.labels("in").inc(step["tokens_in"] / given.batch)
            self.tokens.labels("out").inc(step["tokens_out"] / given.batch)
        self.calls.inc(given.calls)
        self.cached.inc(given.cached)
        self.dollars.inc(given.dollars)


def spans(given: Given, tenant: str, request_id: str) -> None:
    """A span for an answer and one for each stage, with names of the GenAI conventions where a model was asked."""
    end = time.time_ns()
    start = end - int(1e9 * sum(step["seconds"] for step in given.trace))
    about: dict[str, Any] = {
        "hexarec.tenant": tenant, "hexarec.request_id": request_id, "hexarec.pipeline": given.pipeline,
        "hexarec.batch": given.batch, "hexarec.degraded": len(given.degraded),
    }  # fmt: skip
    whole = tracer.start_span("recommend", start_time=start, attributes=about)
    if not whole.is_recording():
        return
    context = trace.set_span_in_context(whole)
    at = start
    for step in given.trace:
        named: dict[str, Any] = {"hexarec.stage": step["stage"], "hexarec.method": step["method"],
                                 "hexarec.items_in": step["n_in"], "hexarec.items_out": step["n_out"]}  # fmt: skip
        if step["lm_calls"]:
            named |= {
                "gen_ai.operation.name": "chat",
                "gen_ai.usage.input_tokens": step["tokens_in"],
                "gen_ai.usage.output_tokens": step["tokens_out"],
            }
        one = tracer.start_span(f"{step['stage']} {step['method']}", context, start_time=at, attributes=named)
        at += int(1e9 * step["seconds"])
        if step["status"] != "ok":
            one.set_status(trace.StatusCode.ERROR, step["status"])
        one.end(at)
    whole.end(end)


class JsonLines(logging.Formatter):
    """Log records as JSON lines; what others wrote stands in a string, so that it can forge no line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        made: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        made |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            made["error"] = type(record.exc_info[1]).__name__
            made["at"] = _place(record.exc_info[2])
        return json.dumps(made, ensure_ascii=True)


def _place(traceback: Any) -> list[str]:
    """Files and lines of a traceback, without the values that stand in messages."""
    made = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        made.append(f"{code.co_filename.rsplit('hexarec', 1)[-1].lstrip('/')}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return made


def log_to(stream: Any, level: int = logging.INFO) -> None:
    """Send the server's log lines to a stream as JSON."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(max(level, logging.WARNING) if name == "mcp" else level)  # below, it repeats what was asked
        logger.propagate = False
