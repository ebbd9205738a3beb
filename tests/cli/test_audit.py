"""`cuvis-ai plugins audit`: what whoever trusts a plugin should know, found without running anything of it."""

import json
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import Result

from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.registry import NodeRegistry

Shell = Callable[..., Result]
HASH = "sha256:" + "0" * 64
COMMIT = "other @ git+https://a.org/x@" + "0" * 40


class _Index(BaseHTTPRequestHandler):
    """A package index with one package, whose first version was taken back."""

    def do_GET(self) -> None:
        name = "spectra_tool-{}-py3-none-any.whl"
        files = "".join(
            f'<a href="/{name.format(version)}#sha256={"0" * 64}"{yanked}>{name.format(version)}</a>'
            for version, yanked in (("1.0", ' data-yanked="loses bands"'), ("1.1", ""))
        )
        text = files.encode() if self.path.startswith("/simple/spectra-tool") else b""
        self.send_response(200 if text else 404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Have that index on loopback, with a uv cache of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Index)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.server_address[1]}/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def manifest(local_plugin: Callable[..., Path], tmp_path: Path) -> Path:
    """Have a manifest whose plugin has everything that can be found, and a back-end that must not run."""
    folder = local_plugin("echo", dependencies=("spectra-tool>=1",))
    text = (folder / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(text.replace('"uv_build"\n\n', '"evil"\nbackend-path = ["."]\n\n'))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    path = tmp_path / "plugins.yaml"
    entry = {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"], "build": ["spectra-tool"]}
    path.write_text(json.dumps({"plugins": {"echo": entry}}))
    return path


def lock(manifest: Path) -> None:
    """Write a lock file by hand."""
    here = f"environments.{interpreter()}"
    manifest.with_suffix(".lock").write_text(
        'version = 1\n[plugins.echo]\npath = "echo"\nisolation = "scoped"\nrequirements = ["spectra-tool>=1"]\n'
        f'[{here}]\nbuilt = ["spectra-tool==1.0"]\n[{here}.dependencies]\n'
        f'echo = ["{COMMIT}", "spectra-tool==1.0"]\n[{here}.hashes]\n"spectra-tool==1.0" = ["{HASH}"]\n'
    )


def findings(found: Result) -> list[tuple[str, str]]:
    """Return what was found."""
    assert found.exit_code == 1, found.stderr
    (plugin,) = json.loads(found.stdout)["plugins"]
    return [(each["about"], each["text"]) for each in plugin["findings"]]


def test_everything_that_should_be_known_is_found(shell: Shell, manifest: Path, index: None, tmp_path: Path) -> None:
    """Bounds, hashes, what is built, what was yanked, licences: and no code of the plugin ran."""
    lock(manifest)

    found = findings(shell("cuvis-ai", "plugins", "audit", manifest, "--json"))

    assert found == [
        ("bounds", "spectra-tool>=1 has no upper bound"),
        ("source", "may build from source: spectra-tool"),
        ("hashes", f"{COMMIT} is locked without a hash"),
        ("licence", f"the licence of {COMMIT} is not known"),
        ("source", "spectra-tool==1.0 is built from source"),
        ("yanked", "spectra-tool==1.0 was yanked: loses bands"),
        ("licence", "the licence of spectra-tool==1.0 is not known"),
        ("licence", "states no licence"),
    ]
    assert not (tmp_path / "ran").exists()


def test_what_is_not_locked_or_not_asked_is_said(shell: Shell, manifest: Path, index: None) -> None:
    """A finding that was not looked for is not a good sign."""
    assert ("lock", "is not locked: other versions may be installed at each load") in findings(
        shell("cuvis-ai", "plugins", "audit", manifest, "--json")
    )
    lock(manifest)
    assert "yanked was not asked: no connection" in shell("cuvis-ai", "plugins", "audit", manifest, "--offline").stdout


def test_a_fetched_plugin_has_an_age_and_a_signature(
    shell: Shell, git_plugin: Callable[..., str], tmp_path: Path
) -> None:
    """Of its tag; a good plugin has nothing to be found but that it is unsigned."""
    url = git_plugin(extra='license = "MIT"\n')
    path = tmp_path / "plugins.yaml"
    entry = {"repo": url, "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]}
    path.write_text(json.dumps({"plugins": {"echo": entry}}))
    with NodeRegistry() as registry:
        registry.load_plugins(path)

    (plugin,) = json.loads(shell("cuvis-ai", "plugins", "audit", path, "--json").stdout)["plugins"]

    assert plugin["age"] > 0  # the host dates its commits itself
    assert plugin["licence"] == "MIT"
    assert [each["about"] for each in plugin["findings"]] == ["lock", "signature"]


def test_a_bill_of_materials_names_plugins_and_their_dependencies(
    shell: Shell, manifest: Path, index: None, tmp_path: Path
) -> None:
    """In CycloneDX, as the library that defines it checks."""
    pytest.importorskip("cyclonedx")
    lock(manifest)
    file = tmp_path / "sbom.json"

    assert shell("cuvis-ai", "plugins", "audit", manifest, "--sbom", file, "--offline").exit_code == 1

    bom: dict[str, Any] = json.loads(file.read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    components = {each["name"]: each for each in bom["components"]}
    assert components["spectra-tool"]["purl"] == "pkg:pypi/spectra-tool@1.0"
    depends = {each["ref"]: each.get("dependsOn", []) for each in bom["dependencies"]}
    assert components["spectra-tool"]["bom-ref"] in depends[components["echo"]["bom-ref"]]
    assert depends["manifest"] == [components["echo"]["bom-ref"]]
    assert {"name": "cuvis-ai-core:hash 1", "value": HASH} in components["spectra-tool"]["properties"]


def test_a_bill_of_materials_needs_a_lock_file(shell: Shell, manifest: Path, tmp_path: Path) -> None:
    """Without one nobody knows the versions; the command that makes one is named."""
    pytest.importorskip("cyclonedx")

    found = shell("cuvis-ai", "plugins", "audit", manifest, "--offline", "--sbom", tmp_path / "sbom.json")

    assert found.exit_code == 2
    assert "cuvis-ai plugins lock" in found.stderr
    assert not (tmp_path / "sbom.json").exists()


def test_without_the_library_the_extra_is_named(
    shell: Shell, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is done then."""
    monkeypatch.setitem(sys.modules, "cyclonedx", None)
    monkeypatch.delitem(sys.modules, "cyclonedx.output", raising=False)

    found = shell("cuvis-ai", "plugins", "audit", manifest, "--sbom", tmp_path / "sbom.json")

    assert found.exit_code == 2
    assert "cuvis-ai-core[audit]" in found.stderr
