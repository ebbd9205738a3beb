"""What a lock file has to name so that it also holds where the host has less installed than here."""

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution
from pathlib import Path

from cuvis_ai_core.errors import InstallError
from cuvis_ai_core.plugins.dependencies import host_environment
from cuvis_ai_core.plugins.dependencies.search_path import installed_in
from cuvis_ai_core.plugins.installing.install_request import Needs


class SparseHost:
    """The host as it would be with nothing but what the core needs, and what is on no package index.

    Args:
        folder: Folder to describe it in, for uv.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fixed = host_environment.constraints()
        kept = {pin.partition("==")[0] for pin in self._fixed}
        self._others: dict[str, str] = {}
        for name, found in installed_in(sys.path).items():
            # What came from a folder or a file can be had nowhere else: it stays the host's, there as here.
            if name in kept or _is_local(found):
                _describe(folder, name, found)
            else:
                self._others[name] = f"{name}=={found.version}"

    def lacks(self, needs: Needs, pins: Sequence[str]) -> list[str]:
        """Return everything that a plugin needs there, in the versions that it has here.

        Args:
            needs: What the plugin needs.
            pins: What this host lacks for it.
        """
        asked = host_environment.without_exchange(needs.requirements)
        chosen = {pin.partition("==")[0]: pin for pin in pins if " @ " not in pin}
        here = [pin for name, pin in self._others.items() if name not in chosen]
        fixed = [pin for pin in self._fixed if pin.partition("==")[0] not in chosen]
        if not asked:
            return []
        try:
            found = needs.uv.missing(asked, [*fixed, *chosen.values(), *here], installed=self._folder)
        except InstallError:
            return list(pins)  # the host has something that is no longer to be had: it stays the host's
        return host_environment.with_addresses(found, needs.requirements)


def _is_local(found: Distribution) -> bool:
    """Tell whether a distribution was installed from somewhere else than an index (PEP 610, PEP 440)."""
    return "+" in found.version or found.read_text("direct_url.json") is not None


def _describe(folder: Path, name: str, found: Distribution) -> None:
    info = folder / f"{name.replace('-', '_')}-{found.version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    for file, text in _description(found):
        (info / file).write_text(text, encoding="utf-8")


def _description(found: Distribution) -> Iterator[tuple[str, str]]:
    yield "METADATA", found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    yield "RECORD", ""
    yield "INSTALLER", "cuvis-ai-core\n"
