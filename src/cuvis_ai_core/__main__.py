"""`python -m cuvis_ai_core` is `cuvis-ai`."""

import sys

if not sys.flags.safe_path:  # `-m` puts the working directory first, where a file `yaml.py` may lie
    del sys.path[0]

from cuvis_ai_core.cli.start import run

if __name__ == "__main__":
    run("cuvis_ai_core.cli.main", "python -m cuvis_ai_core")
