"""Transforms, indices, detectors and measures of imaging spectroscopy as nodes for cuvis-ai-core."""
