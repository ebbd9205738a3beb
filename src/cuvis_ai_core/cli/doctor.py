"""`cuvis-ai doctor`: what of this machine plugins need, what of it works, and what to do about the rest."""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import click

from cuvis_ai_core.cli.shared.options import json_option, shared_options
from cuvis_ai_core.cli.shared.output import say
from cuvis_ai_core.errors import CuvisError

_OK: Final = "ok"
_WARNING: Final = "warning"
_ERROR: Final = "error"
_LITTLE: Final = 2 * 2**30
"""Bytes of free space below which an installation of a large plugin may fail."""

_EXTRAS: Final = {
    "torch": "torch",
    "train": "pytorch_lightning",
    "grpc": "grpc",
    "geotiff": "rasterio",
    "hdf5": "h5py",
    "matlab": "scipy",
    "zarr": "zarr",
    "tiff": "tifffile",
    "remote": "aiohttp",  # fsspec comes with torch too
    "cu3s": "cuvis",
    "video": "cv2",
    "viz": "graphviz",
    "audit": "cyclonedx",
    "ray": "ray",
}
"""A module of each extra, by which it is known."""

_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class Finding(NamedTuple):
    """What was found of one thing.

    Attributes:
        what: The thing.
        state: `ok`, `warning` or `error`.
        said: What was found.
        cure: What to do, where there is something.
    """

    what: str
    state: str
    said: str
    cure: str = ""


@click.command()
@click.option("--network", is_flag=True, help="See whether the package index answers, too.")
@json_option
@shared_options
def doctor(network: bool, as_json: bool) -> None:
    """Look at what plugins need of this machine: git, uv, plugin cache, policy, proxies, extras, GPU.

    No connection is opened without --network. The exit status is 1 if something is an error.
    """
    found = [finding for look in (_LOOKS if not network else (*_LOOKS, _index)) for finding in look()]
    if as_json:
        say(json.dumps([finding._asdict() for finding in found], indent=2))
    else:
        from cuvis_ai_core.cli.shared.tables import print_table

        print_table(("what", "state", "found"), [(each.what, each.state, each.said) for each in found])
        for each in found:
            if each.cure:
                say(f"{each.what}: {each.cure}")
    if any(each.state == _ERROR for each in found):
        raise click.exceptions.Exit(1)


def _python() -> Iterator[Finding]:
    yield Finding("Python", _OK, f"{platform.python_version()} at {sys.executable}")


def _git() -> Iterator[Finding]:
    from cuvis_ai_core.plugins.git.git_command import require_git

    try:
        require_git()
    except CuvisError as error:
        yield Finding("git", _ERROR, error.message, error.hint or "")
        return
    yield Finding("git", _OK, _said(["git", "--version"]) or "it does not tell its version")
    # Git may not ask for a password while plugins are loaded (GIT_TERMINAL_PROMPT=0), so that helpers alone have one.
    helper = _said(["git", "config", "--get-all", "credential.helper"])
    cure = "" if helper else "for private repositories by https, set one: git config --global credential.helper store"
    yield Finding("git credentials", _OK if helper else _WARNING, helper or "no credential helper", cure)


def _uv() -> Iterator[Finding]:
    from uv import find_uv_bin

    try:
        program = find_uv_bin()
    except FileNotFoundError:
        yield Finding("uv", _ERROR, "it is not there", "pip install --force-reinstall uv")
        return
    yield Finding("uv", _OK, _said([program, "--version"]) or program)


def _cache() -> Iterator[Finding]:
    import shutil

    from cuvis_ai_core.plugins.cache.store import Store
    from cuvis_ai_core.registry import NodeRegistry

    folder = NodeRegistry.get_cache_dir()
    try:
        Store(folder).refuse_foreign()
    except CuvisError as error:
        yield Finding("plugin cache", _ERROR, error.message, error.hint or "")
        return
    # The first load makes the folder: before it, the nearest one above it decides.
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(there, os.W_OK):
        cure = "make it writable, or choose another one with CUVIS_PLUGINS_DIR"
        yield Finding("plugin cache", _ERROR, f"{there} cannot be written", cure)
        return
    free = shutil.disk_usage(there).free
    said = f"{folder}, {free / 2**30:.1f} GiB free"
    cure = "make room: cuvis-ai plugins cache prune" if free < _LITTLE else ""
    yield Finding("plugin cache", _WARNING if cure else _OK, said, cure)


def _policy() -> Iterator[Finding]:
    from cuvis_ai_core.plugins.policy.policy_rules import find_policy

    try:
        found = find_policy()
    except CuvisError as error:
        yield Finding("policy", _ERROR, error.message, error.hint or "")
        return
    yield Finding(
        "policy", _OK, str(found.path) if found is not None else "none: whatever the user names may be loaded"
    )


def _network_settings() -> Iterator[Finding]:
    from cuvis_ai_core._redact import redact
    from cuvis_ai_core.plugins.offline import OFFLINE_VARIABLE, is_offline

    # In both spellings: curl, by which git fetches, reads http_proxy in small letters alone, since HTTP_PROXY may be
    # what a visitor of a CGI script sent (CVE-2016-5385).
    given = [name for name in (*_PROXIES, *map(str.lower, _PROXIES)) if os.environ.get(name)]
    said = ", ".join(f"{name}={redact(os.environ[name])}" for name in given) or "none"
    yield Finding("proxies", _OK, said)
    if is_offline():
        yield Finding("offline", _WARNING, f"{OFFLINE_VARIABLE} is set", "nothing is fetched while it is: unset it")


def _extras() -> Iterator[Finding]:
    # Looked for, not imported: torch alone takes two seconds (decision 3).
    there = [extra for extra, module in _EXTRAS.items() if find_spec(module) is not None]
    lacking = [extra for extra in _EXTRAS if extra not in there]
    yield Finding("extras", _OK, f"{', '.join(there) or 'none'}; not installed: {', '.join(lacking) or 'none'}")


def _gpu() -> Iterator[Finding]:
    if find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        yield Finding("GPU", _OK, torch.cuda.get_device_name(0))
    elif found := _said(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]):
        visible = os.environ.get(_VISIBLE)
        if visible in {"", "-1"}:  # on purpose: no build of torch would find one
            yield Finding("GPU", _OK, f"{found}, which {_VISIBLE}='{visible}' hides; pipelines run on the CPU")
            return
        said = f"{found}, which torch {torch.__version__} cannot use; pipelines run on the CPU"
        yield Finding("GPU", _WARNING, said, "install the build of torch for this GPU and its driver: see pytorch.org")
    else:
        yield Finding("GPU", _OK, f"none that torch {torch.__version__} can use; pipelines run on the CPU")


def _index() -> Iterator[Finding]:
    from uv import find_uv_bin

    with tempfile.TemporaryDirectory() as folder:
        # As a load asks: by uv, with its settings, proxies and credentials. Without uv's cache, which would answer
        # instead.
        command = [find_uv_bin(), "pip", "install", "--no-cache", "--target", folder, "--no-deps", "pluggy"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0 and any(Path(folder).iterdir()):
            yield Finding("package index", _OK, "it answers")
            return
    from cuvis_ai_core._redact import redact

    words = re.sub(r"\s+", " ", redact(done.stderr)).strip()
    yield Finding("package index", _ERROR, words[:300], "see proxies, and the settings of uv and pip")


def _said(command: list[str]) -> str:
    """Return what a program prints, in one line; nothing if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ", ".join(done.stdout.split("\n")).strip(", ") if done.returncode == 0 else ""


_LOOKS: Final[tuple[Callable[[], Iterator[Finding]], ...]] = (
    _python,
    _git,
    _uv,
    _cache,
    _policy,
    _network_settings,
    _extras,
    _gpu,
)
