"""Adding a plugin to a manifest, taking one out, changing tags, with all else in the file as it is written."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core._yaml import YamlDumper, parse_yaml
from cuvis_ai_core.errors import ManifestError, SourceError, TagNotFoundError, YamlError
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.sources import git_source, project_folder, projects
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.git.git_command import require_git
from cuvis_ai_core.plugins.git.repository_tags import remote_tags
from cuvis_ai_core.plugins.installing.pyproject import is_project
from cuvis_ai_core.plugins.lock.newest_tag import highest
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, parse_plugin, read_manifest


class Fetched(NamedTuple):
    """A tag of a repository, on disk.

    Attributes:
        folder: Its checkout.
        tag: The tag; the newest version where none was asked for.
    """

    folder: Path
    tag: str


def fetched(address: str, tag: str | None, subdirectory: str, store: Store, announce: Callable[[str], None]) -> Fetched:
    """Return the checkout of a tag that no manifest names yet.

    Args:
        address: Address of the repository.
        tag: The tag; None means that of the highest version.
        subdirectory: Folder of the project in it; empty for the top folder.
        store: The plugin cache.
        announce: Called with the address before the network is waited for.

    Raises:
        ManifestError: The address or the tag is none.
        NotAllowedError: The policy of this machine does not allow it; then it is not asked for its tags either.
        SignatureError: The tag is not signed as the policy asks.
        SourceError: The repository does not answer, or has no such tag, or none that is a version, or the project is
            not where it is said to be.
    """
    name = name_of(address)
    below = {"subdirectory": subdirectory} if subdirectory else {}
    # A made-up entry: the manifest's rules judge address and tag, and the policy is asked before the network.
    entry = {"repo": address, "tag": tag or "v1", "provides": ["any.Node"], **below}
    declared = parse_plugin(name, entry, base=Path())
    assert isinstance(declared, GitPlugin)
    policy_checks.judged(name, declared, own_process=True)
    require_git()
    chosen = tag or _newest(address)
    source = git_source(name, address, chosen, store, announce)
    declared = declared.model_copy(update={"tag": chosen})
    policy_checks.signed(name, declared, source)
    if not is_project(project_folder(declared, source)) and (known := projects(source.folder)):
        raise SourceError(
            f"{subdirectory or 'The top folder'} of {without_credentials(address)} {chosen} holds no project.",
            hint=f"Name one of those in it: URL@TAG#subdirectory=FOLDER; there are {', '.join(sorted(known))}.",
            location=without_credentials(address),
        )
    return Fetched(source.folder, chosen)


def name_of(address: str) -> str:
    """Return the name that a plugin gets of its repository: `cuvis-ai-adaclip.git` is `cuvis_ai_adaclip`."""
    last = re.split(r"[/:]", address.rstrip("/"))[-1].removesuffix(".git")
    name = re.sub(r"\W+", "_", last).strip("_") or "plugin"
    # A plugin's name becomes part of a module's, which does not begin with a digit.
    return f"_{name}" if name[0].isdigit() else name


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


def _newest(address: str) -> str:
    tags = remote_tags(address)
    found = highest(tags)
    if found is None:
        shown = ", ".join(sorted(tags)[:10]) or "none"
        raise TagNotFoundError(
            f"{without_credentials(address)} has no tag that is a version; its tags: {shown}.",
            hint="Name one of its tags: URL@TAG. Plugins are loaded from tags only.",
            location=without_credentials(address),
            tag="",
        )
    return found


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
