"""The pipeline file: found, read with what is laid over it, checked, and written."""
