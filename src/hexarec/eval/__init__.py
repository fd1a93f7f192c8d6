"""Experiments: tasks supply cases and scores; rows, intervals, tests, cost and the floor ladder are shared."""
