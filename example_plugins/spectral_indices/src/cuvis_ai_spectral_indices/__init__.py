"""Spectral indices as nodes for cuvis-ai-core."""
