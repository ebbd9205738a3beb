"""The commands: one module each. Only here texts are printed and exit statuses exist."""
