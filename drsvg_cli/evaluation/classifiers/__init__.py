"""Weights of the classifiers that judge predictions, one file a source; data only."""
