"""The plugin cache: what lies in it, how it gets there whole, and how it stays what it was."""
