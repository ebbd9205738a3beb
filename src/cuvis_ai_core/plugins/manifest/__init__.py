"""The manifest (`plugins.yaml`): its schema, and what is said where it is broken."""
