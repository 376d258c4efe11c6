"""The model of the paper, Sections 3.1 to 3.3; it does not know that files exist."""
