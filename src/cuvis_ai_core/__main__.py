"""`python -m cuvis_ai_core` is `cuvis-ai`."""

from cuvis_ai_core.cli.main import main

if __name__ == "__main__":
    main(prog_name="python -m cuvis_ai_core")
