"""Adding a plugin to a manifest and taking one out leaves all else as it is written."""

from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from cuvis_ai_core.errors import ManifestError, SourceError
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.lock.manifest_editing import with_entry, without_entry
from cuvis_ai_core.plugins.lock.newest_tag import highest
from cuvis_ai_core.plugins.lock.undeclared_plugin import fetched, name_of
from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest
from cuvis_ai_core.testing.git_host import GitHost

ENTRY = {"repo": "https://example.org/leaf.git", "tag": "v1.0", "provides": ["leaf.nodes.Leaf"]}

TWO = """\
plugins:
  echo:
    path: ../echo
    provides:
    - a.B
    - a.C

  # the second
  other:
    path: ../other
    provides:
      - c.D
"""

WRITTEN = [
    "# ours\nplugins:\n  # the first\n  echo:\n    path: ../echo  # here\n    provides: [a.B]\n# the end\n",
    "plugins:\n    echo: {path: ../echo, provides: [a.B]}\n\n\n",
    TWO,
    "plugins: {}\n",
    "plugins:\n  {}\n",
    "plugins: # none yet\n",
    "# nothing at all\n",
    "",
    "plugins:\r\n  echo:\r\n    path: ../echo\r\n    provides: [a.B]\r\n",
    "plugins:\n  echo:\n    path: ../echo\n    provides: [a.B]",
    "plugins:\n  größe:\n    path: ../größe\n    provides: [a.B]\n",
]


@pytest.mark.parametrize("text", WRITTEN)
def test_an_added_plugin_is_last_and_all_else_stays(tmp_path: Path, text: str) -> None:
    """Every line that was there is there, comments too; taken out again, the file says what it said."""
    file = tmp_path / "plugins.yaml"
    file.write_bytes(text.encode())
    before = read_manifest(file).plugins
    found = with_entry(file, "leaf", ENTRY)
    kept = [line for line in text.splitlines() if line.strip().strip("{}") not in {"", "plugins:", "plugins: "}]
    assert set(kept) <= set(found.splitlines())
    file.write_bytes(found.encode())
    after = read_manifest(file).plugins
    assert list(after) == [*before, "leaf"]
    assert {name: after[name] for name in before} == before
    file.write_bytes(without_entry(file, "leaf").encode())
    assert read_manifest(file).plugins == before
    assert set(kept) <= set(file.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    ("places", "subdirectory", "said"),
    [
        ({""}, "", ""),
        ({"", "nodes"}, "", ""),
        ({"nodes"}, "nodes", ""),
        (set(), "", ""),
        ({"nodes", "more/deep"}, "", "The top folder of {url} v1.0 holds no project."),
        ({"nodes"}, "docs", "docs of {url} v1.0 holds no project."),
    ],
)
def test_a_repository_has_its_project_where_it_is_said(
    tmp_path: Path, git_host: GitHost, places: set[str], subdirectory: str, said: str
) -> None:
    """Where there is none but there are others, these are named; where there is none at all, a build says so."""
    files = {f"{place}/pyproject.toml".lstrip("/"): "[project]\nname = 'x'\n" for place in places}
    name = f"editing-{uuid4().hex}"
    url = git_host.add(name, files | {"docs/index.md": "x", "README.md": "x"}, tag="v1.0")
    told: list[str] = []
    store = Store(tmp_path / "store")
    if said:
        with pytest.raises(SourceError) as caught:
            fetched(url, "v1.0", subdirectory, store, told.append)
        assert caught.value.message == said.format(url=url)
        assert caught.value.location == url
        assert "Name one of those in it: URL@TAG#subdirectory=FOLDER; there are " in str(caught.value.hint)
        assert str(caught.value.hint).endswith(f"there are {', '.join(sorted(places))}.")
    else:
        found = fetched(url, None, subdirectory, store, told.append)
        assert found.tag == "v1.0"
        assert (found.folder / "README.md").is_file()
    assert told == [f"{url} v1.0"]
    store.release()


def test_a_manifest_that_is_not_there_is_made(tmp_path: Path) -> None:
    """With what people write by hand."""
    assert with_entry(tmp_path / "new.yaml", "leaf", ENTRY) == (
        "plugins:\n  leaf:\n    repo: https://example.org/leaf.git\n    tag: v1.0\n    provides: [leaf.nodes.Leaf]\n"
    )


def test_a_plugin_in_the_middle_is_taken_out_alone(tmp_path: Path) -> None:
    """Comments of others stay."""
    file = tmp_path / "plugins.yaml"
    file.write_text(TWO, encoding="utf-8")
    assert without_entry(file, "echo") == (
        "plugins:\n\n  # the second\n  other:\n    path: ../other\n    provides:\n      - c.D\n"
    )
    assert without_entry(file, "other") == (
        "plugins:\n  echo:\n    path: ../echo\n    provides:\n    - a.B\n    - a.C\n\n  # the second\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "plugins: {echo: {path: ../echo, provides: [a.B]}, other: {path: ../o, provides: [c.D]}}\n",
        "plugins:\n  echo: &e\n    path: ../echo\n    provides: [a.B]\n  other: *e\n",
    ],
)
def test_what_cannot_be_changed_alone_is_left_to_the_author(tmp_path: Path, text: str) -> None:
    """With what to write; the file is as it was."""
    file = tmp_path / "plugins.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match="cannot be taken out alone"):
        without_entry(file, "echo")
    if "{echo" in text:
        with pytest.raises(ManifestError, match="an entry cannot be put in") as caught:
            with_entry(file, "leaf", ENTRY)
        assert "tag: v1.0" in str(caught.value)
    assert yaml.safe_load(file.read_text(encoding="utf-8")) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["v1.9", "v1.10", "latest"], "v1.10"),
        (["v1.0", "v2.0rc1"], "v1.0"),
        (["v2.0rc1", "v2.0rc2"], "v2.0rc2"),
        (["reader-3.0", "v1.0"], "v1.0"),
        (["1.0", "v1.1"], "v1.1"),
        (["release/1.0", "release/1.1"], "release/1.1"),
        (["nightly"], None),
        ([], None),
    ],
)
def test_the_highest_version_of_a_repository(tags: list[str], expected: str | None) -> None:
    """A pre-release only where there is nothing else."""
    assert highest(tags) == expected


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://github.com/cubert-hyperspectral/cuvis-ai-adaclip.git", "cuvis_ai_adaclip"),
        ("git@host:group/leaf.git", "leaf"),
        ("https://host/3d-leaf/", "_3d_leaf"),
    ],
)
def test_a_plugin_is_called_after_its_repository(address: str, name: str) -> None:
    """Names are Python identifiers."""
    assert name_of(address) == name
