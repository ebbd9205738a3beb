"""What plugins depend on: what the host has, what can be shared, and who serves which module."""
