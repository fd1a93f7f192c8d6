"""Tests of the nouns and verbs."""
