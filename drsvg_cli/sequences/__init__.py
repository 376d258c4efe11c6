"""What a model trains on: float sequences `(T, B, C, H, W)` in [0, 1]."""
