"""From a manifest line to node classes."""
