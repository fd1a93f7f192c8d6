"""Nets under every method, shipped: contracts for any stage, papers' claims as code, strategies for properties."""

from hexarec.testing._asking import Broken
from hexarec.testing.contracts import CONTRACTS, Verdict, check, contracts_of

__all__ = ["CONTRACTS", "Broken", "Verdict", "check", "contracts_of"]
