"""From a source tree to an installed target directory: which versions, and by which means."""
