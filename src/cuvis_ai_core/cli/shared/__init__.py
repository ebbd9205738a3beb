"""What the commands share: options, output, tables, progress, logs, and how errors are shown."""
