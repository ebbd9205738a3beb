"""Wheels that tests make, for uv to find."""

import base64
import hashlib
import sysconfig
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


def _make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str],
    *,
    requires: tuple[str, ...] = (),
    pure: bool = True,
) -> None:
    """Write the wheel of a distribution into a folder.

    Args:
        folder: Where it comes to lie.
        name: Name of the distribution.
        version: Its version.
        files: Texts of its files by path.
        requires: Its requirements.
        pure: Whether its tag is that of a pure-Python wheel.
    """
    tag = "py3-none-any" if pure else f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {str(pure).lower()}\nTag: {tag}\n",
    }
    lines = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in content.items()] + [
        f"{info}/RECORD,,"
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-{version}-{tag}.whl", "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "\n".join(lines) + "\n")


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def make_wheel() -> Callable[..., None]:
    """Return a function that writes a wheel into a folder (see `_make_wheel`)."""
    return _make_wheel
