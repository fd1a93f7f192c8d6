"""Tests of the language-model layer."""
