"""Published import paths."""
