"""A stub of an OpenAI-compatible server, and 63 faults by name: for tests of this project and of those who use it."""

from hexarec.testing.stub.registry import FAULTS, GROUPS, Fault, named
from hexarec.testing.stub.server import Exchange, Latency, Stub

# each fills its group of FAULTS, in this order
from hexarec.testing.stub import connect, timing, status, body, meaning, streams  # isort: skip
from hexarec.testing.stub.machine import injected  # isort: skip

__all__ = ["FAULTS", "GROUPS", "Exchange", "Fault", "Latency", "Stub", "injected", "named"]
