"""The loop and what it turns: players, batches, turns, smoothing, checkpoints."""
