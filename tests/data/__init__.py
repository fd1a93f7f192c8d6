"""Tests of hexarec.data."""
