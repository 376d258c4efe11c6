"""Training: what is trained, the loop that trains it, and model cards."""
