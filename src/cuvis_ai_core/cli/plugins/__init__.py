"""`cuvis-ai plugins`: a module for each of its commands."""
