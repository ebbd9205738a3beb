"""Cubes in ENVI files: a text header with a data file of raw values beside it."""
