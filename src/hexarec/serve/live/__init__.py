"""Pipelines in service: questions that wait are answered together, new events and items change the next answer."""
