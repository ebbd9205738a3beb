"""`cuvis-ai demo`: plugins from Git tags and local paths, a real cube, a picture."""
