"""What a single value of a manifest may be; the model says where it stands.

Each `check_…` returns the value in its one spelling or raises a `ManifestError` whose message reads after the
key; an attribute `at` leads from the value to the part of it that is wrong.
"""

import keyword
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from cuvis_ai_core._redact import redact
from cuvis_ai_core.errors import ManifestError

_Plugins = TypeVar("_Plugins", bound=Mapping[str, object])

_MAX_LENGTH: Final = {"name": 100, "tag": 150, "class path": 500, "repo": 2000, "path": 4000}

_REPO_RULE: Final = "give git@host:path, https://…, http://… or ssh://…"
_REPO_TRAPS: Final = (
    (r"-", f"begins like an option; {_REPO_RULE}"),
    (r".*\s", f"has a blank in it; {_REPO_RULE}"),
    (r"\w+::", f"names a remote helper, which could run any program; {_REPO_RULE}"),
    (r"git\+\w+:", "carries a 'git+' that only pip knows; leave it away"),
    (r"(?i:file:)|[/~\\]|\.{1,2}[/\\]|[a-zA-Z]:[/\\]", "is a folder; give it as 'path', without repo and tag"),
    (r"[\w-]+/[\w.-]+$", f"has no host; {_REPO_RULE}"),
    (r"[\w-]+(\.[\w-]+)+/\S+$", "has no scheme; put https:// before it"),
    (r".*[/:]\.\.(/|$)", "has a '..' in it; write the address without"),
)
_SCP_FORM: Final = r"\w[\w.+-]*@[\w[][\w.:\]-]*?:(?!-)[^\\?#]+"
_WEB_PAGE: Final = (
    r"(?P<repo>https?://[^/]+(/[^/]+){2,}?)(\.git)?"
    r"/(-/\w+|tree|blob|commit|raw|archive|pull|releases/tag|releases/download)/.*"
)

_TAG_RULE: Final = "plugins are loaded from tags only"
_COMMIT_LENGTH: Final = 40
_GIT_RULE: Final = "is no tag: git allows no"
_TAG_TRAPS: Final = (
    (r"refs/tags/", "is a whole ref; write only what follows refs/tags/"),
    (r"refs/|HEAD$|origin/(HEAD|main|master)$", f"is a branch or another ref, no tag; {_TAG_RULE}"),
    (r"([0-9a-fA-F]{40}|[0-9a-fA-F]{64})$", f"is a commit; {_TAG_RULE}"),
    (r"-", "begins like an option; no tag begins with '-'"),
    (r".*[\s~^:?*\[\\]", rf"{_GIT_RULE} blank and none of ~ ^ : ? * [ \ "),
    (r"/|.*(\.\.|@\{|//)|.*[/.]$|@$", f"{_GIT_RULE} '..', '@{{', '//', nor '/' or '.' at the end"),
    (r"(.*/)?(\.|[^/]*\.lock(/|$))", f"{_GIT_RULE} part that begins with '.' or ends with '.lock'"),
)

_FOLDER_RULE: Final = "give a folder inside the project, as in plugins/adaclip"
_FOLDER_TRAPS: Final = (
    (r"[/~]|[a-zA-Z]:", f"is no relative path; {_FOLDER_RULE}"),
    (r".*\\", "has a '\\'; write '/' between folders"),
    (r"(.*/)?\.\.(/|$)", f"has a '..' in it; {_FOLDER_RULE}"),
    (r"[./]*$", "is the project's top folder; leave 'subdirectory' away"),
)


_USUAL: Final = {"isolation": ("scoped", "process", "auto")}
"""What else a plain entry may say."""


def show(value: object) -> str:
    """Return a value for an error text: short, without credentials, control characters escaped."""
    shortener = reprlib.Repr()
    shortener.maxstring = shortener.maxother = 80
    try:
        return redact(shortener.repr(redact(value) if isinstance(value, str) else value))
    except ValueError:  # a number with more digits than Python writes out
        return f"of type {type(value).__name__}"


def plain_entry(name: object, entry: object) -> dict[str, Any] | None:
    """Return an entry of a plugin from a repository as the model has it, where it breaks no rule, and has few keys.

    To prepare the model takes as long as a small fetch. What is more than plain, or wrong, only the model can tell.
    """
    if not isinstance(entry, Mapping) or not {"repo", "tag", "provides"} <= entry.keys():
        return None
    repo, tag, provides = entry["repo"], entry["tag"], entry["provides"]
    more = {key: entry[key] for key in entry.keys() - {"repo", "tag", "provides"}}
    if any(value not in _USUAL.get(key, ()) for key, value in more.items()):
        return None
    if not (provides and isinstance(provides, list | tuple)):
        return None
    if not all(type(text) is str for text in (name, repo, tag, *provides)):
        return None
    try:
        check_name(str(name))
        paths = check_paths_differ(tuple(map(check_class_path, provides)))
        return {"provides": paths, **more, "repo": check_repo(repo), "tag": check_tag(tag)}
    except ManifestError:
        return None


def check_name(name: str) -> str:
    """Check the name of a plugin: it becomes part of module and folder names."""
    _check_text(name, "name")
    if not _is_name(name):
        spelling = re.sub(r"\W+", "_", name)
        spelling = f"_{spelling}" if spelling[0].isdigit() else spelling
        spelling += "_" if keyword.iskeyword(spelling) else ""
        raise ManifestError(f"is no plugin name: names are Python identifiers; write '{spelling}'")
    return name


def check_names_differ(plugins: _Plugins) -> _Plugins:
    """Refuse names that differ only in case: on many disks their folders are one."""
    seen: dict[str, str] = {}
    for name in plugins:
        other = seen.setdefault(_folded(name), name)
        if other != name:
            message = f"differs from '{other}' only in case, which many disks ignore; rename one of them"
            raise ManifestError(message, at=(name,))
    return plugins


def check_repo(repo: str) -> str:
    """Check the address of a Git repository, and return it as git knows its scheme: in small letters."""
    _check_text(repo, "repo")
    if _is_usual_url(repo):
        return repo
    _refuse(repo, _REPO_TRAPS)
    if page := re.fullmatch(_WEB_PAGE, repo):
        raise ManifestError(f"is a page about a repository; write '{redact(page['repo'])}.git'")
    if re.fullmatch(_SCP_FORM, repo):
        return repo
    if not _is_url(repo):
        raise ManifestError(f"{show(repo)} is no address of a repository; {_REPO_RULE}")
    scheme, mark, rest = repo.partition("://")
    return f"{scheme.lower()}{mark}{rest}"


def check_tag(tag: str) -> str:
    """Check the name of a tag by the rules of `git check-ref-format`."""
    _check_text(tag, "tag")
    if not _is_usual_tag(tag):
        _refuse(tag, _TAG_TRAPS)
    return tag


def check_class_path(path: str) -> str:
    """Check the full path of a node class."""
    _check_text(path, "class path")
    parts = path.split(".")
    if len(parts) > 1 and all(map(_is_name, parts)):
        return path
    if re.fullmatch(r"[\w.]+:\w+", path):
        raise ManifestError(f"{show(path)} has a ':'; write '{path.replace(':', '.')}'")
    if _is_name(path):
        raise ManifestError(f"{show(path)} names no module; write the full path, as in my_plugin.{path}")
    raise ManifestError(f"{show(path)} is no class path; each part between dots is a Python identifier")


def check_paths_differ(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a list that names one class twice."""
    seen: dict[str, int] = {}
    for index, path in enumerate(paths):
        if seen.setdefault(path, index) != index:
            raise ManifestError(f"{show(path)} stands twice in the list; keep one", at=(index,))
    return paths


def check_extra(extra: str) -> str:
    """Check the name of an extra and return it in its normal form (PEP 685)."""
    return _normal_name(extra, "an extra; it has letters, digits and - _ . between them")


def check_distribution(name: str) -> str:
    """Check the name of a distribution and return it in its normal form (PEP 503)."""
    return _normal_name(name, "a package; it has letters, digits and - _ . between them, no version")


def _normal_name(name: str, rule: str) -> str:
    from packaging.utils import InvalidName, canonicalize_name

    try:
        return canonicalize_name(name, validate=True)
    except InvalidName:
        raise ManifestError(f"{show(name)} is no name of {rule}") from None


def check_subdirectory(folder: str) -> str:
    """Check the folder of the project inside a repository, and return it with '/' and nothing redundant."""
    _check_text(folder, "path")
    _refuse(folder, _FOLDER_TRAPS)
    return str(PurePosixPath(folder))


def check_python(version: str) -> str:
    """Check a Python version of the form 3.12."""
    major, _, minor = version.partition(".")
    if major == "3" and minor.isdecimal() and minor.isascii() and len(minor) <= len("99"):
        return version
    raise ManifestError(f"{show(version)} is no Python version of the form 3.12, two numbers and a dot")


def check_path(text: str, base: Path) -> Path:
    """Check the folder of a local plugin and return it absolute; a relative one begins at `base`."""
    _check_length(text, "path")
    if "\0" in text:
        raise ManifestError("has a null character in it, which no path can have")
    if text.find("://") > 1 or ("@" in text and re.match(_SCP_FORM, text)):
        raise ManifestError("is an address; give a repository as 'repo', with a 'tag'")
    try:
        # pathlib raises RuntimeError where there is no such home, and before 3.13 of links that lead in a circle.
        return (base / Path(text).expanduser()).resolve()
    except (OSError, RuntimeError) as error:
        raise ManifestError(f"cannot be resolved ({redact(str(error))}); give an absolute path") from None


def kind_of(value: object) -> str:
    """Return what kind of value stands where another kind should."""
    kinds = {type(None): "empty", bool: "a truth value", str: "a single text", dict: "a mapping", list: "a list"}
    numbers = (int, float) if not isinstance(value, bool) else ()
    return f"the number {show(value)}" if isinstance(value, numbers) else kinds.get(type(value), show(value))


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _folded(name: str) -> str:
    """Return what names have in common that a disk may take for one."""
    if name.isascii():
        return name.lower()
    # Nearly all names are ASCII, and need none of it.
    from unicodedata import normalize

    # Python takes names that NFKC makes equal for one (PEP 3131).
    return normalize("NFKC", name).casefold()


def _is_usual_url(text: str) -> bool:
    """Tell whether this is https://host/owner/project, for which no pattern has to be compiled."""
    short = text.startswith(("https://", "http://")) and text.count("/") <= "https://host/owner/name".count("/")
    return short and ".." not in text and " " not in text and _is_url(text)


def _is_usual_tag(text: str) -> bool:
    """Tell whether this is a version such as v2.0.0-beta.1, for which no pattern has to be compiled."""
    parts = text.replace("-", "").replace("_", "").split(".")
    numbered = any(map(str.isdigit, text)) and len(text) < _COMMIT_LENGTH
    return numbered and all(map(str.isalnum, parts)) and parts[-1] != "lock" and text[0] != "-"


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        host = url.hostname or "-"
        # urllib raises ValueError when it is asked for a port that is none.
        port_is_valid = url.port != 0
    except ValueError:
        return False
    # A host that begins with '-' was an option of ssh once (CVE-2017-1000117).
    safe = not host.startswith("-") and not url.netloc.startswith("-") and "\\" not in text
    plain = url.path.strip("/") and not url.query and not url.fragment
    return bool(url.scheme in {"https", "http", "ssh"} and safe and plain and port_is_valid)


def _check_text(text: str, kind: str) -> None:
    _check_length(text, kind)
    if not text.isprintable():
        raise ManifestError("has a control character or an invisible one; type it anew, in plain characters")


def _check_length(text: str, kind: str) -> None:
    if not text.strip():
        raise ManifestError("is empty; write a value, or leave the key away where it is optional")
    if len(text) > _MAX_LENGTH[kind]:
        raise ManifestError(f"has {len(text)} characters; at most {_MAX_LENGTH[kind]} are possible")


def _refuse(text: str, traps: tuple[tuple[str, str], ...]) -> None:
    for pattern, message in traps:
        if re.match(pattern, text):
            raise ManifestError(message.strip())
