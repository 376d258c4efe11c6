"""Pictures, curves and pages of results."""
