"""Rollouts: futures and swaps."""
