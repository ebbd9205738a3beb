"""The published way to start the server: `python -m` this module, the same as `cuvis-ai serve`."""

from cuvis_ai_core.grpc.server.serve_command import serve

main = serve

if __name__ == "__main__":
    main()
