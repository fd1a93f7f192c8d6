"""Pieces that several methods share: rendering, grounding, asking, indexes. A part has a card in the docs, no row."""
