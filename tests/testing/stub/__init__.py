"""Tests of the stub server and of its faults."""
