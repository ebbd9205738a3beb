"""Private modules: how the code of one plugin version runs beside that of another."""
