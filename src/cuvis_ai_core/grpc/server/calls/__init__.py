"""The RPCs, a module per group: each is a function from a call to the message that answers it."""
