"""Scores of a generator: features, statistics, metrics; the same on any number of ranks, and cached."""
