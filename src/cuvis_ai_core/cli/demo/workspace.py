"""The folder of the demonstration: what is written there, and the Git repository that is served from it."""

import contextlib
import io
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core.cli.demo.written_files import Written
from cuvis_ai_core.testing import GitHost
from cuvis_ai_core.testing.git_host import PORT

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube

FILES: Final = Path(__file__).parent / "files"
VERSIONS: Final = ("v1.0.0", "v1.1.0")
"""The two tags of the Git plugin."""

GIT_PLUGIN: Final = "spectral_indices"
LOCAL_PLUGINS: Final = ("plain_nodes", "colour_maps")
_REPOSITORY: Final = "spectral-indices"
_NOT_SOURCE: Final = shutil.ignore_patterns("tests", "__pycache__", "*.egg-info", "build", "dist", ".*_cache")


def example_plugins() -> Path:
    """Return the folder of the example plugins: in this package (wheel), or beside `src` (clone)."""
    packaged = Path(__file__).parent / "example_plugins"
    return packaged if packaged.is_dir() else Path(__file__).parents[4] / "example_plugins"


class Workspace:
    """The output directory of the demonstration.

    Args:
        root: The directory, made if it is not there.
    """

    def __init__(self, root: Path) -> None:
        # Not `resolve`: paths are shown to the reader, who knows the link and not where it leads.
        self.root = root.absolute()
        self.written = Written(self.root)
        self.cache = self.root / "plugin-cache"
        self.cube = self.root / "indian_pines.npz"
        self.picture = self.root / "demo.png"
        self.manifests = dict(zip(VERSIONS, self._named("plugins"), strict=True))
        self.pipelines = dict(zip(VERSIONS, self._named("pipeline"), strict=True))

    def _named(self, stem: str) -> tuple[Path, Path]:
        return self.root / f"{stem}.yaml", self.root / f"{stem}-{VERSIONS[1]}.yaml"

    def is_free(self) -> bool:
        """Tell whether the directory is new, empty, or of an earlier run, so that nothing else is overwritten."""
        if not self.root.is_dir() or not any(self.root.iterdir()):
            return True
        return bool(self.written)

    def write_files(self, cube: "Cube") -> None:
        """Write the cube, the pipelines and the local plugins; what was edited since an earlier run stays as it is.

        Raises:
            OSError: The directory cannot be written.
        """
        import numpy as np

        self.root.mkdir(parents=True, exist_ok=True)
        for pipeline in self.pipelines.values():
            self.written.write(pipeline, (FILES / pipeline.name).read_bytes())
        archive = io.BytesIO()
        np.savez_compressed(archive, cube=cube.data, wavelengths=np.asarray(cube.wavelengths))
        self.written.write(self.cube, archive.getvalue())
        for name in LOCAL_PLUGINS:
            shutil.copytree(
                example_plugins() / name,
                self.root / "plugins" / name,
                dirs_exist_ok=True,
                ignore=_NOT_SOURCE,
                copy_function=self._copy,
            )

    def _copy(self, source: str, target: str) -> None:
        self.written.write(Path(target), Path(source).read_bytes())

    @contextlib.contextmanager
    def served(self) -> Iterator[dict[str, str]]:
        """Serve the Git plugin with both tags, write the manifests for it, and give tag to commit.

        Raises:
            OSError: The directory cannot be written.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        commits = self._make_repository()
        with self._host() as host:
            template = Template((FILES / "plugins.yaml").read_text(encoding="utf-8"))
            for tag, manifest in self.manifests.items():
                text = template.substitute(url=host.url(_REPOSITORY), tag=tag, port=host.port)
                self.written.write(manifest, text.encode())
            yield commits

    def _make_repository(self) -> dict[str, str]:
        """Have the repository of the Git plugin, and return tag to commit; one that has these commits stays."""
        old, new = VERSIONS
        # In this folder, since a rename does not lead from one file system to another (rename(2): EXDEV).
        with tempfile.TemporaryDirectory(prefix=".git-host.", dir=self.root) as temporary:
            host = GitHost(Path(temporary))
            host.make(_REPOSITORY, {})
            commits = {
                old: host.commit(_REPOSITORY, example_plugins() / GIT_PLUGIN, tag=old),
                new: host.commit(_REPOSITORY, FILES / f"{GIT_PLUGIN}-{new}.patch", tag=new),
            }
            if any(self._commit(tag) != commit for tag, commit in commits.items()):
                remove_tree(self._repository)
                self._repository.parent.mkdir(exist_ok=True)
                (Path(temporary) / self._repository.name).rename(self._repository)
        return commits

    @property
    def _repository(self) -> Path:
        return self.root / "git-host" / f"{_REPOSITORY}.git"

    def _commit(self, tag: str) -> str | None:
        """Return what a tag of the repository names, if it is there."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return (self._repository / "refs" / "tags" / tag).read_text(encoding="ascii").strip()
        return None

    @contextlib.contextmanager
    def _host(self) -> Iterator[GitHost]:
        """Serve where the last run did, if that is free: another address is another plugin to the cache."""
        with contextlib.ExitStack() as stack:
            try:
                host = stack.enter_context(GitHost(self.root / "git-host", port=self._last_port()))
            except OSError:
                host = stack.enter_context(GitHost(self.root / "git-host"))
            yield host

    def _last_port(self) -> int:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            text = self.manifests[VERSIONS[0]].read_text(encoding="utf-8")
            if found := re.search(r"http://127\.0\.0\.1:(\d{1,5})/", text):
                # The file may have been edited: five digits are more than a port has.
                return int(found[1]) % 2**16
        return PORT
