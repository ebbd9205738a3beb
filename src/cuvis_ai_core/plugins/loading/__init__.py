"""From installed plugins to node classes in a registry, and back when they are unloaded."""
