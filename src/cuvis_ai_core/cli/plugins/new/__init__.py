"""`cuvis-ai plugins new`: a plugin's project that works at once."""
