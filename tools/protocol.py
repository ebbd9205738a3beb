"""Compile `additions.proto` of the gRPC service to the descriptors that the server reads.

python tools/protocol.py          writes src/cuvis_ai_core/grpc/messages/additions.binpb
python tools/protocol.py --check  only tells whether it is up to date
"""

import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "src" / "cuvis_ai_core" / "grpc" / "messages"


def main(arguments: list[str]) -> int:
    """Write the descriptors, or with `--check` compare them; return 1 if they differ."""
    known = FOLDER / "additions.binpb"
    compiled = compile_proto()
    if arguments == ["--check"]:
        return int(compiled != known.read_bytes())
    known.write_bytes(compiled)
    return 0


def compile_proto() -> bytes:
    """Return the descriptors of `additions.proto`."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "additions.binpb"
        command = ["protoc", f"-I{FOLDER}", f"--descriptor_set_out={target}", str(FOLDER / "additions.proto")]
        if protoc.main(command) != 0:
            raise SystemExit("protoc failed")
        return target.read_bytes()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
