"""The wheels of one version of a dependency, and which of them this interpreter would take."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from packaging.tags import Tag


class Wheel(NamedTuple):
    """One wheel file.

    Attributes:
        address: URL or path of the file.
        hash: Its hash, as `sha256:…`.
        size: Its size in bytes; 0 where the index does not say.
    """

    address: str
    hash: str
    size: int

    @property
    def name(self) -> str:
        """Name of the file."""
        return unquote(urlsplit(self.address).path.rpartition("/")[2])


class Wheels(NamedTuple):
    """The wheels of a pin.

    Attributes:
        name: Normalised name of the distribution.
        version: Its version.
        files: Its wheels; none where it comes from a commit.
        commit: `name @ address` with the commit, for a dependency from a repository.
        direct: Whether the files are named by a requirement, not found by the index.
        source: Its source distribution, where it is built.
    """

    name: str
    version: str
    files: tuple[Wheel, ...]
    commit: str | None = None
    direct: bool = False
    source: Wheel | None = None

    @classmethod
    def from_pylock(cls, package: Mapping[str, Any]) -> "Wheels":
        """Read one package of a lock file as PEP 751 describes it."""
        name, version = package["name"], package.get("version", "")
        if "vcs" in package:
            vcs = package["vcs"]
            below = f"#subdirectory={vcs['subdirectory']}" if "subdirectory" in vcs else ""
            return cls(name, version, (), f"{name} @ {vcs['type']}+{vcs['url']}@{vcs['commit-id']}{below}", direct=True)
        direct = "archive" in package
        files = [package["archive"]] if direct else package.get("wheels", [])
        # Where there is a wheel it is taken; a source beside it is never built.
        source = _wheel(package["sdist"]) if not files and "sdist" in package else None
        return cls(name, version, tuple(map(_wheel, files)), direct=direct, source=source)

    @property
    def pin(self) -> str:
        """What is installed: `name==version`, or `name @ address`."""
        if self.commit is not None:
            return self.commit
        return f"{self.name} @ {self.files[0].address}" if self.direct else f"{self.name}=={self.version}"

    @property
    def hashes(self) -> tuple[str, ...]:
        """The hashes of all wheels, or of the source, sorted."""
        return tuple(sorted(file.hash for file in (*self.files, *([self.source] if self.source else []))))

    def chosen(self, python: str | None = None) -> Wheel | None:
        """Return the wheel that a Python takes on this platform.

        Args:
            python: Its version, as `3.12`; by default this interpreter.
        """
        if self.direct:
            return self.files[0] if self.files else None
        from packaging.utils import parse_wheel_filename

        ranks = {tag: rank for rank, tag in enumerate(_tags(python))}
        rated = [
            (min(ranks[tag] for tag in tags), file)
            for file in self.files
            # A wheel may have several tags (`py2.py3`): its best one counts, as in pip.
            if (tags := parse_wheel_filename(file.name)[3] & ranks.keys())
        ]
        return min(rated, key=lambda pair: pair[0])[1] if rated else None


def _tags(python: str | None) -> "Iterator[Tag]":
    """Return what kinds of wheels a Python takes on this platform, the best ones first."""
    from packaging.tags import compatible_tags, cpython_tags, sys_tags

    if python is None:
        return sys_tags()
    version = tuple(map(int, python.split(".")))
    return chain(cpython_tags(version), compatible_tags(version, f"cp{version[0]}{version[1]}"))


def _wheel(file: Mapping[str, Any]) -> Wheel:
    # Sorted, so that a file with several hashes has the same one each time; indexes name sha256.
    algorithm, digest = next(iter(sorted(file["hashes"].items())))
    return Wheel(file.get("url") or file["path"], f"{algorithm}:{digest}", file.get("size", 0))
