"""The folder of the demonstration: what is written there, and the Git repository that is served from it."""

import contextlib
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

from cuvis_ai_core._files import remove_tree, write_atomic
from cuvis_ai_core.testing import GitHost

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube

FILES: Final = Path(__file__).parent / "files"
VERSIONS: Final = ("v1.0.0", "v1.1.0")
"""The two tags of the Git plugin."""

GIT_PLUGIN: Final = "spectral_indices"
LOCAL_PLUGINS: Final = ("plain_nodes", "colour_maps")
_REPOSITORY: Final = "spectral-indices"
_MARK: Final = b"# Written by `cuvis-ai demo`"
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
        self.root = root.absolute()
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
        mark = self.pipelines[VERSIONS[0]]
        return mark.is_file() and mark.read_bytes().startswith(_MARK)

    def write_files(self, cube: "Cube") -> None:
        """Write the cube, the pipelines and the local plugins.

        Raises:
            OSError: The directory cannot be written.
        """
        import numpy as np

        self.root.mkdir(parents=True, exist_ok=True)
        for pipeline in self.pipelines.values():
            write_atomic(pipeline, (FILES / pipeline.name).read_bytes())
        archive = io.BytesIO()
        np.savez_compressed(archive, cube=cube.data, wavelengths=np.asarray(cube.wavelengths))
        write_atomic(self.cube, archive.getvalue())
        for name in LOCAL_PLUGINS:
            place = self.root / "plugins" / name
            shutil.copytree(example_plugins() / name, place, dirs_exist_ok=True, ignore=_NOT_SOURCE)

    @contextlib.contextmanager
    def served(self) -> Iterator[dict[str, str]]:
        """Serve the Git plugin with both tags, write the manifests for it, and give tag to commit.

        Raises:
            OSError: The directory cannot be written.
        """
        remove_tree(self.root / "git-host")
        with self._host() as host:
            url = host.add(_REPOSITORY, {})
            old, new = VERSIONS
            commits = {
                old: host.commit(_REPOSITORY, example_plugins() / GIT_PLUGIN, tag=old),
                new: host.commit(_REPOSITORY, FILES / f"{GIT_PLUGIN}-{new}.patch", tag=new),
            }
            template = Template((FILES / "plugins.yaml").read_text(encoding="utf-8"))
            for tag, manifest in self.manifests.items():
                write_atomic(manifest, template.substitute(url=url, tag=tag))
            yield commits

    @contextlib.contextmanager
    def _host(self) -> Iterator[GitHost]:
        """Serve on the port of the last run if it is free: another URL is another plugin to the cache."""
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
                return int(found[1]) % 2**16
        return 0
