"""A plugin that needs NumPy 1."""
