"""Rendered prompts as text files: a change of wording is seen in review, not in production."""
