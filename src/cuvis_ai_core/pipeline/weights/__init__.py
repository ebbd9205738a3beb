"""What nodes have learned, in a file: its formats, and what is refused in it."""
