"""Training: steps, runs and model cards."""
