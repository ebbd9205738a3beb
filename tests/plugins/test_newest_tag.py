"""Newer tags, and the manifest with them."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core.errors import ManifestError
from cuvis_ai_core.plugins.lock.manifest_editing import with_tags
from cuvis_ai_core.plugins.lock.newest_tag import newest


@pytest.mark.parametrize(
    ("tags", "present", "expected"),
    [
        (["v1.9", "v1.10", "v1.2"], "v1.9", "v1.10"),
        (["v1.0", "v0.9"], "v1.0", "v1.0"),
        (["v1.0", "v2.0rc1"], "v1.0", "v1.0"),
        (["v2.0rc1", "v2.0rc2"], "v2.0rc1", "v2.0rc2"),
        (["v2.0rc1", "v2.0"], "v2.0rc1", "v2.0"),
        (["release/1.0", "release/1.1", "v9"], "release/1.0", "release/1.1"),
        (["reader-1.0", "viewer-2.0", "reader-v3.0"], "reader-1.0", "reader-1.0"),
        (["reader2-1.0", "reader2-1.1"], "reader2-1.0", "reader2-1.1"),
        (["1.0", "1.0.1", "v2.0"], "1.0", "1.0.1"),
        (["nightly", "v1.0"], "nightly", "nightly"),
        (["v1.0", "v--upload-pack=x", "v2.0;rm"], "v1.0", "v1.0"),
        ([], "v1.0", "v1.0"),
    ],
)
def test_the_newest_tag_of_the_same_spelling_by_version_order(tags: list[str], present: str, expected: str) -> None:
    """Pre-releases count only for who has one; what is no version is no newer version."""
    assert newest(tags, present) == expected


MANIFEST = """\
# which plugins
plugins:
  echo:   # ours
    repo: "https://example.org/echo.git"
    tag: {tag}   # pinned since May

    provides: [echo_plugin.nodes.Echo]
  other: {{repo: https://example.org/o.git, tag: v1.0.0, provides: [o.O]}}
"""


@pytest.mark.parametrize("old", ["v1.0.0", '"v1.0.0"', "'v1.0.0'", '"1.0"'])
@pytest.mark.parametrize("new", ["v1.1.0", "1.10", "1e5", "release/2.0", "2024-01-01"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_only_the_tag_changes_where_it_stands(tmp_path: Path, old: str, new: str, newline: str) -> None:
    """Comments, quotes, blank lines and line ends stay; what YAML would read as something else is quoted."""
    path = tmp_path / "plugins.yaml"
    text = MANIFEST.format(tag=old).replace("\n", newline)
    path.write_bytes(text.encode())
    changed = with_tags(path, {"echo": new})
    assert yaml.safe_load(changed)["plugins"]["echo"]["tag"] == new
    before, after = text.splitlines(keepends=True), changed.splitlines(keepends=True)
    assert [number for number, line in enumerate(before) if line != after[number]] == [4]
    assert after[4].endswith(f"   # pinned since May{newline}")
    if old[0] in "'\"":
        assert f"{old[0]}{new}{old[0]}" in after[4]


@given(st.sampled_from(["v2", "1.10", "release/3.0"]), st.booleans())
def test_two_tags_on_one_line_change_apart(new: str, swap: bool) -> None:  # noqa: FBT001
    """In flow style too, and behind a byte order mark."""
    import tempfile

    entries = ["a: {tag: v1, repo: x}", "b: {repo: y, tag: 'v1'}"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plugins.yaml"
        mark = "\ufeff" if swap else ""
        path.write_text(f"{mark}plugins: {{{', '.join(entries[::-1] if swap else entries)}}}", encoding="utf-8")
        found = yaml.safe_load(with_tags(path, {"a": new, "b": "v7"}))["plugins"]
    assert (found["a"]["tag"], found["b"]["tag"]) == (new, "v7")


def test_a_merged_tag_is_not_changed_for_others(tmp_path: Path) -> None:
    """What two plugins share by an alias is changed by hand."""
    path = tmp_path / "plugins.yaml"
    path.write_text("plugins:\n  a: &a {repo: x, tag: v1}\n  b: *a\n")
    with pytest.raises(ManifestError, match="cannot be changed alone"):
        with_tags(path, {"b": "v2"})


def test_a_tag_that_comes_by_a_merge_is_changed_where_it_stands(tmp_path: Path) -> None:
    """Where only one plugin has it."""
    path = tmp_path / "plugins.yaml"
    path.write_text("plugins:\n  a: {<<: {tag: v1}, repo: x}\n")
    assert with_tags(path, {"a": "v2"}) == "plugins:\n  a: {<<: {tag: v2}, repo: x}\n"
