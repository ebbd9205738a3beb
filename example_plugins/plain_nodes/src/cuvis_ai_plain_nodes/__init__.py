"""The smallest plugin for cuvis-ai-core: node classes, nothing else."""
