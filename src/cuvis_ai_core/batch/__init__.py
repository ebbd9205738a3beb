"""Many cubes."""
