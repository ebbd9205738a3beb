"""Which of a repository's tags is the newest version, and the manifest with it."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from cuvis_ai_core._yaml import parse_yaml
from cuvis_ai_core.errors import ManifestError, YamlError

if TYPE_CHECKING:
    from yaml import Node, ScalarNode


def newest(tags: Iterable[str], present: str) -> str:
    """Return the tag of the highest version that is higher than the present one, or else the present tag.

    Only tags that are spelled alike count, so that `viewer-2.0` is no newer version of `reader-1.0`. Pre-releases count
    only for who has one.

    Args:
        tags: The tags of the repository.
        present: The tag that the manifest has.
    """
    style, version = _split(present)
    if version is None:
        return present
    found = [(each, tag) for tag in tags for prefix, each in [_split(tag)] if each is not None and prefix == style]
    if not version.is_prerelease:
        found = [(each, tag) for each, tag in found if not each.is_prerelease]
    return max([(version, present), *((each, tag) for each, tag in found if each > version)])[1]


def _split(tag: str) -> tuple[str, Version | None]:
    """Return what stands before the version in a tag, and the version."""
    for begin in re.finditer(r"(?:(?<=^)|(?<=[^\w.])|(?<=_)|(?<=^v)|(?<=[^\w.]v)|(?<=_v))\d", tag):
        try:
            return tag[: begin.start()], Version(tag[begin.start() :])
        except InvalidVersion:
            continue
    return tag, None


def with_tags(manifest: Path, tags: Mapping[str, str]) -> str:
    """Return the text of a manifest with other tags for some plugins; all else stays as it is written.

    Args:
        manifest: The manifest, which follows the rules.
        tags: New tags by the plugins' names.

    Raises:
        ManifestError: A tag is written so that it cannot be changed alone, as by an alias.
    """
    text = manifest.read_bytes().decode("utf-8")
    data = parse_yaml(text).data
    plugins = {**data["plugins"], **{name: {**data["plugins"][name], "tag": tag} for name, tag in tags.items()}}
    lines = text.splitlines(keepends=True)
    places = [(_tag_node(text, name), tag) for name, tag in tags.items()]
    # From the end, so that what stands before stays where it is.
    for node, tag in sorted(places, key=lambda place: place[0].start_mark.index, reverse=True):
        _replace(lines, node, tag)
    changed = "".join(lines)
    if not _says(changed, {**data, "plugins": plugins}):
        raise ManifestError(
            f"{manifest} writes the tags of {', '.join(tags)} so that they cannot be changed alone.",
            hint=f"Change them by hand: {', '.join(f'{name}: {tag}' for name, tag in tags.items())}",
            path=manifest,
        )
    return changed


def _says(text: str, meant: object) -> bool:
    try:
        return bool(parse_yaml(text).data == meant)
    except YamlError:
        return False


def _tag_node(text: str, plugin: str) -> "ScalarNode":
    from yaml import SafeLoader, ScalarNode, compose

    node = compose(text, SafeLoader)
    for key in ("plugins", plugin, "tag"):
        node = _below(node, key)
    assert isinstance(node, ScalarNode)
    return node


def _below(node: "Node | None", key: str) -> "Node":
    from yaml import MappingNode

    assert isinstance(node, MappingNode)
    found = [value for name, value in node.value if name.value == key]
    merged = [value for name, value in node.value if name.value == "<<"]
    return found[0] if found else _below(merged[0], key)


def _replace(lines: list[str], node: "ScalarNode", tag: str) -> None:
    line, begin, end = node.start_mark.line, node.start_mark.column, node.end_mark.column
    quote = node.style if node.style in {"'", '"'} else "" if _is_plain(tag) else '"'
    lines[line] = f"{lines[line][:begin]}{quote}{tag}{quote}{lines[line][end:]}"


def _is_plain(tag: str) -> bool:
    """Tell whether YAML takes a tag without quotes for a text: `1.10` would be a number."""
    return re.fullmatch(r"[a-zA-Z][\w./+-]*", tag) is not None and parse_yaml(tag).data == tag
