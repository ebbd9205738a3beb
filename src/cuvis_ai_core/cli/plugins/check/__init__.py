"""`cuvis-ai plugins check`: what is wrong with a plugin's project, each with its line and its cure."""
