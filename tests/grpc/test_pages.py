"""The page of the RPCs is that of the descriptors."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_reference_is_what_the_descriptors_and_handlers_say() -> None:
    """Every RPC with its fields and statuses; written by the tool."""
    command = [sys.executable, str(ROOT / "tools" / "service_reference.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0
