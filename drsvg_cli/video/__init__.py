"""Video files: which there are, what is in them, and how they are written; no tensors."""
