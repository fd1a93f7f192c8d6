"""hexarec: every LLM-for-recommendation method on one data model, one language-model layer and one evaluator."""

__version__ = "0.1.0"
