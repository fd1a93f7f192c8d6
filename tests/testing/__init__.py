"""Tests of the shipped nets."""
