"""Stochastic video prediction with disentangled representations, for any clip."""

__version__ = "0.3.0"
