"""The clients: blocking and asyncio, how they reach a server, and the command `cuvis-ai remote`."""
