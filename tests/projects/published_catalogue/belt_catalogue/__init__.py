"""A small catalogue that imports what published ones import."""
