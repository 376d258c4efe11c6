"""The page of `drsvg serve`: a small server on this computer, and what the browser shows."""
