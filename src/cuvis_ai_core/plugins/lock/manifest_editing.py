"""Adding a plugin to a manifest, taking one out, changing tags, with all else in the file as it is written."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cuvis_ai_core._yaml import YamlDumper, parse_yaml
from cuvis_ai_core.errors import ManifestError, YamlError
from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest


def with_entry(manifest: Path, name: str, entry: Mapping[str, Any]) -> str:
    """Return the text of a manifest with one more plugin at its end; of a manifest that is not there, a new one.

    Raises:
        ManifestError: There is a plugin of that name, or the text has no place for one, as `plugins: {…}` has none.
    """
    lines = [f"{name}:", *(f"  {key}: {_written(value)}" for key, value in entry.items())]
    if not manifest.exists():
        return "\n".join(["plugins:", *(f"  {line}" for line in lines), ""])
    present = read_manifest(manifest).plugins  # which says what is wrong with the file
    # Bytes: reading as text would turn the line ends of Windows into others, and each line would be a change.
    text = manifest.read_bytes().decode("utf-8")
    if name in present:
        raise ManifestError(
            f"{manifest} has a plugin '{name}' already.",
            hint=f"Move it to another tag: cuvis-ai plugins update {name}. Or add it under another name: --name OTHER",
            path=manifest,
            plugin=name,
        )
    data = parse_yaml(text).data or {}
    meant = {**data, "plugins": {**(data.get("plugins") or {}), name: dict(entry)}}
    found = _inserted(text, lines)
    # Lines are put in blindly, and the outcome is read: anchors, flow style and tabs need no rules of their own then.
    if _data(found) != meant:
        raise _by_hand(manifest, "is written so that an entry cannot be put in", lines)
    return found


def without_entry(manifest: Path, name: str) -> str:
    """Return the text of a manifest without one of its plugins.

    Raises:
        ManifestError: There is none of that name, or it cannot be taken out alone, as one that an alias names.
    """
    read_manifest(manifest).named([name])
    text = manifest.read_bytes().decode("utf-8")
    document = parse_yaml(text)
    plugins = dict(document.data["plugins"])
    first = document.line_of("plugins", name)
    del plugins[name]
    lines = text.splitlines(keepends=True)
    if first is not None:
        end = _end(lines, first - 1)
        lines[first - 1 : end] = [] if plugins else [f"{' ' * _indent(lines[first - 1])}{{}}\n"]
    found = "".join(lines)
    if first is None or _data(found) != {**document.data, "plugins": plugins}:
        raise _by_hand(manifest, f"is written so that '{name}' cannot be taken out alone", ())
    return found


def with_tags(manifest: Path, tags: Mapping[str, str]) -> str:
    """Return the text of a manifest with other tags for some plugins; all else stays as it is written.

    Args:
        manifest: The manifest, which follows the rules.
        tags: New tags by the plugins' names.

    Raises:
        ManifestError: A tag is written so that it cannot be changed alone, as by an alias.
    """
    text = manifest.read_bytes().decode("utf-8")
    document = parse_yaml(text)
    data = document.data
    plugins = {**data["plugins"], **{name: {**data["plugins"][name], "tag": tag} for name, tag in tags.items()}}
    changed = document.replaced(text, {("plugins", name, "tag"): tag for name, tag in tags.items()})
    if _data(changed) != {**data, "plugins": plugins}:
        raise ManifestError(
            f"{manifest} writes the tags of {', '.join(tags)} so that they cannot be changed alone.",
            hint=f"Change them by hand: {', '.join(f'{name}: {tag}' for name, tag in tags.items())}",
            path=manifest,
        )
    return changed


def _inserted(text: str, lines: Sequence[str]) -> str:
    """Return a text with lines below all that stands below `plugins:`."""
    rows = text.splitlines()
    top = next((index for index, row in enumerate(rows) if re.match(r"plugins\s*:", row)), None)
    if top is None:
        return "\n".join([*rows, "plugins:", *(f"  {line}" for line in lines), ""])
    if re.fullmatch(r"plugins\s*:\s*(\{\s*\}|null|~)\s*(#.*)?", rows[top]):
        rows[top] = "plugins:"
    last, indent = top, 2
    for index in range(top + 1, len(rows)):
        row = rows[index]
        if row.strip() in {"{}", "null", "~"} and last == top:  # an empty mapping on a line of its own
            rows[index] = ""
        elif row.strip() and not row.lstrip().startswith("#"):
            if not row[0].isspace():
                break
            # As deep as the first entry is: YAML wants all of a mapping alike.
            indent = _indent(row) if last == top else indent
            last = index
    return (
        "\n".join([*rows[: last + 1], *(f"{' ' * indent}{line}" for line in lines), *rows[last + 1 :]]).rstrip("\n")
        + "\n"
    )


def _end(lines: Sequence[str], first: int) -> int:
    """Return where an entry ends: comments and blank lines above the next one, or less indented, are not its own."""
    indent = _indent(lines[first])
    last = first
    for index in range(first + 1, len(lines)):
        line = lines[index]
        if line.strip() and _indent(line) <= indent and not line.lstrip().startswith(("#", "- ")):
            break
        if (line.strip() and _indent(line) > indent) or line.lstrip().startswith("- "):
            last = index
    return last + 1


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _written(value: object) -> str:
    """Return a value as a line of YAML has it."""
    import yaml

    # PyYAML breaks lines at 80 signs by default, and ends a bare scalar with '...'.
    text = yaml.dump(value, Dumper=YamlDumper, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.strip().removesuffix("...").strip()


def _data(text: str) -> object:
    try:
        return parse_yaml(text).data
    except YamlError:
        return None


def _by_hand(manifest: Path, what: str, lines: Sequence[str]) -> ManifestError:
    hint = "Write it by hand:" if lines else "Take it out by hand."
    return ManifestError(f"{manifest} {what}.", hint="\n".join([hint, *(f"  {line}" for line in lines)]), path=manifest)
