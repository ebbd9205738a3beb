"""The published commands `dataset` and `download-model`."""
