"""Rollouts: predictions and swaps, a frame at a time."""
