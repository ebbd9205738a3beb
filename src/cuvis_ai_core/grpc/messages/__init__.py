"""The messages of `cuvis_ai.v1`, of all generations of the schemas, and what becomes of arrays and nodes in them."""
