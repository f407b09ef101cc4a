"""What a trained run has learnt, as pictures: directions in its latents, truncation, neighbours, scores."""
