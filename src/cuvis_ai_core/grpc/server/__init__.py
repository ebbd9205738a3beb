"""The server: its start, what it listens with, its calls, the sessions that it keeps, and what operators see."""
