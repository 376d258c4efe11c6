"""Evaluation: metrics, predictions, swaps and classifiers."""
