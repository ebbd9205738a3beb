"""A plugin that needs an old NumPy."""
