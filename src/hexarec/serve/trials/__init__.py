"""Experiments on live traffic: who gets which pipeline, two lists in one, and what came of it.

Assignment, interleaving and their analysis are in `metrics`; here they meet the store.
"""

from hexarec.serve.trials.choices import Choice, chosen, merged
from hexarec.serve.trials.experiments import GUARDS, KIND, created, moved, of, running
from hexarec.serve.trials.readings import course, outcomes, read

__all__ = [
    "GUARDS", "KIND", "Choice", "chosen", "course", "created", "merged", "moved", "of", "outcomes", "read", "running",
]  # fmt: skip
