"""The lock file: what a manifest means, written down, and moved on purpose."""
