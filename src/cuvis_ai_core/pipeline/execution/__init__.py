"""A run: what is asked for, the plan, values on their way into nodes, and the loop over the steps."""
