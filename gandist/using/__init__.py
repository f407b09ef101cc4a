"""A trained run put to work: load, sample, interpolate, evaluate, export."""
