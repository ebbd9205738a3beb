"""The base class of published nodes that decide; the built-in ones are in `cuvis_ai_core.builtin.decision`."""
