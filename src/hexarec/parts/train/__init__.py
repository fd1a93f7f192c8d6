"""Tuning of language models: examples, what may be tuned, a forward without padding, losses, loops."""
