"""Score maps as images, in perceptually uniform colours, for cuvis-ai-core."""
