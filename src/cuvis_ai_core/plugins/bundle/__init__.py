"""A manifest with all that it needs in one archive."""
