"""Dependencies that there are only as source: refused by name, or built where somebody allows it."""

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.cli.main import main
from cuvis_ai_core.errors import DependencyNotFoundError, ManifestError, PluginLoadError, PluginsLoadError

LoadFolder = Callable[..., Path]

BACKEND = """\
import base64, hashlib, os, zipfile

def build_wheel(folder, *arguments):
    name = "cuvis_test_grammar-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("cuvis_test_grammar.py", "VERSION = '1.0'")
        info = "cuvis_test_grammar-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: cuvis-test-grammar\\nVersion: 1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        digest = base64.urlsafe_b64encode(hashlib.sha256(b"VERSION = '1.0'").digest()).decode().rstrip("=")
        wheel.writestr(f"{info}/RECORD", f"cuvis_test_grammar.py,sha256={digest},15\\n")
    return name
"""
PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "cuvis-test-grammar"
version = "1.0"
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a source distribution, where uv looks."""
    folder = tmp_path / "sources"
    folder.mkdir()
    write_source(folder)
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    return folder


def write_source(folder: Path, more: str = "", needs: Sequence[str] = ()) -> None:
    """Write a source distribution."""
    top = "cuvis_test_grammar-1.0"
    metadata = "Metadata-Version: 2.2\nName: cuvis-test-grammar\nVersion: 1.0\n"
    files = {
        "pyproject.toml": PROJECT.replace("requires = []", f"requires = {[*needs]}"),
        "backend.py": BACKEND + more,
        "PKG-INFO": metadata,
    }
    with tarfile.open(folder / f"{top}.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.fixture
def folder(local_plugin: LoadFolder, sources: Path) -> Path:
    """Return a plugin that needs it."""
    folder = local_plugin(dependencies=("cuvis-test-grammar",))
    nodes = folder / "src/echo_plugin/nodes.py"
    nodes.write_text(nodes.read_text() + "\nimport cuvis_test_grammar\nEcho.grammar = cuvis_test_grammar.VERSION\n")
    return folder


def load(folder: Path, **more: object) -> type:
    """Load the plugin in a registry of its own."""
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("echo", {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"], **more})
        return registry.get("Echo")


@pytest.mark.parametrize("isolation", ["scoped", "process"])
def test_a_dependency_without_a_wheel_is_an_error_that_says_how_to_allow_a_build(
    folder: Path, cache: Path, isolation: str
) -> None:
    """It names the package, the reason and the key."""
    with pytest.raises(PluginLoadError) as caught:
        load(folder, isolation=isolation)
    assert isinstance(caught.value.__cause__, DependencyNotFoundError)
    text = str(caught.value)
    assert text.index("has no usable wheels") < text.index("cuvis-test-grammar has no wheel for this Python")
    assert "build: [cuvis-test-grammar]" in text
    assert "--allow-build cuvis-test-grammar" in text


@pytest.mark.parametrize("isolation", ["scoped", pytest.param("process", marks=pytest.mark.slow)])
def test_a_dependency_is_built_where_the_manifest_allows_it(folder: Path, cache: Path, isolation: str) -> None:
    """Its name is written in any of its spellings."""
    found = load(folder, build=["Cuvis_Test.Grammar"], isolation=isolation)
    assert found.__name__ == "Echo"


def test_one_name_allows_no_other(folder: Path, cache: Path) -> None:
    """Each build is allowed by itself."""
    with pytest.raises(PluginLoadError, match=r"build: \[cuvis-test-grammar\]"):
        load(folder, build=["cuvis-test-other"])


def test_what_is_no_name_of_a_package_is_told(folder: Path, cache: Path) -> None:
    """Such as one with a version."""
    with pytest.raises(ManifestError, match="no name of a package"):
        load(folder, build=["cuvis-test-grammar==1.0"])


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["scoped", "process"])
@pytest.mark.parametrize("way", ["manifest", "option"])
def test_a_lock_file_records_the_hash_of_the_source(
    folder: Path,
    cache: Path,
    tmp_path: Path,
    sources: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    isolation: str,
) -> None:
    """And that it is built: who loads with it is not asked again; another source is refused."""
    manifest = tmp_path / "plugins.yaml"
    build = "build: [cuvis-test-grammar], " if way == "manifest" else ""
    manifest.write_text(
        f"plugins:\n  echo: {{path: '{folder}', {build}isolation: {isolation}, provides: [echo_plugin.nodes.Echo]}}\n"
    )
    options = ["--allow-build", "cuvis-test-grammar"] if way == "option" else []
    result = CliRunner().invoke(main, ["plugins", "lock", str(manifest), *options])
    assert result.exit_code == 0, result.output
    lock = manifest.with_suffix(".lock").read_text()
    assert "built = [" in lock
    assert lock.count("cuvis-test-grammar==1.0") == 3

    NodeRegistry.set_cache_dir(tmp_path / "fresh")
    with NodeRegistry(discover=False) as registry:
        assert registry.load_plugins(manifest) == 1
    write_source(sources, more="# another\n")
    NodeRegistry.set_cache_dir(tmp_path / "altered")
    monkeypatch.setenv("UV_NO_CACHE", "1")  # which has what was built of the right source
    with NodeRegistry(discover=False) as registry, pytest.raises(PluginsLoadError, match=r"[Hh]ash"):
        registry.load_plugins(manifest)


@pytest.mark.slow
def test_what_is_built_is_carried_in_a_bundle(
    folder: Path,
    cache: Path,
    tmp_path: Path,
    sources: Path,
    make_wheel: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its source, with all that its build needs: it is built where the bundle is unpacked, without a network."""
    make_wheel(sources, "cuvis-test-tool", "1.0", {"cuvis_test_tool.py": ""})
    more = (
        "import cuvis_test_tool\ndef get_requires_for_build_editable(settings=None):\n    return ['cuvis-test-gone']\n"
    )
    write_source(sources, more=more, needs=["cuvis-test-tool"])
    manifest = folder.parent / "plugins.yaml"
    manifest.write_text(f"plugins:\n  echo: {{path: ./{folder.name}, provides: [echo_plugin.nodes.Echo]}}\n")
    archive = tmp_path / "all.tar.gz"
    options = ["--allow-build", "cuvis-test-grammar", "--output", str(archive)]
    result = CliRunner().invoke(main, ["plugins", "bundle", str(manifest), *options])
    assert result.exit_code == 0, result.output
    with tarfile.open(archive) as bundle:
        names = {name.removeprefix("wheels/") for name in bundle.getnames() if name.startswith("wheels/cuvis_test")}
    assert names == {"cuvis_test_grammar-1.0.tar.gz", "cuvis_test_tool-1.0-py3-none-any.whl"}

    for file in sources.iterdir():
        file.unlink()
    NodeRegistry.set_cache_dir(tmp_path / "elsewhere")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("CUVIS_OFFLINE", "1")
    place = tmp_path / "unpacked"
    result = CliRunner().invoke(main, ["plugins", "unbundle", str(archive), "--accept", "--output-dir", str(place)])
    assert result.exit_code == 0, result.output
    with NodeRegistry(discover=False) as registry:
        assert registry.load_plugins(place / "plugins.yaml") == 1
        assert registry.get("Echo").grammar == "1.0"  # type: ignore[attr-defined]
