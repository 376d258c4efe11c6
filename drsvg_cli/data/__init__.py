"""What a model trains on: sequences `(T, B, C, H, W)`, uint8 or float in [0, 1]."""
