"""A run tile by tile: which tiles, in how many passes over the image, and what is done with each."""
