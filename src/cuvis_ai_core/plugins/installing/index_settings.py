"""The user's settings about package indexes, as one configuration file for uv.

uv would also take what projects around its working folder say, and settings that change what is asked of it, such as
`no-binary`: only those count that say where packages are and how they travel. Where uv has none of its own, pip's
hold: what `pip install` finds has to be found here.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._untrusted_files import read_toml

_KEPT: Final = re.compile(
    r"index|index-url|extra-index-url|find-links|no-index|index-strategy|keyring-provider|allow-insecure-host"
    r"|native-tls|system-certs|cache-dir|no-cache|link-mode|offline|exclude-newer(-package)?|torch-backend"
    r"|(http|https|no)-proxy|concurrent-\w+|python-install-mirror|pypy-install-mirror"
)

_INDEXES: Final = frozenset({"index", "index-url", "extra-index-url", "find-links", "no-index"})

_INDEX_VARIABLE: Final = re.compile(r"UV_(INDEX(_URL)?|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX)")

_Settings = dict[str, Any]


def uv_settings() -> _Settings:
    """Return what `uv.toml` is to say."""
    found: _Settings = {}
    for path in _uv_files():
        found |= _read_uv(path)
    return found


def pip_settings(uv: Mapping[str, Any]) -> tuple[_Settings, dict[str, str]]:
    """Return pip's settings as settings of uv and as environment variables, for what uv has no own settings for."""
    pip = _read_pip()
    settings: _Settings = {}
    # All or nothing: who has set uv up has said where packages are, and a company's index must not be mixed with
    # another.
    if not (_INDEXES & uv.keys()) and not any(map(_INDEX_VARIABLE.fullmatch, os.environ)):
        settings = _indexes(pip)
    if pip.get("trusted-host") and "allow-insecure-host" not in uv and "UV_INSECURE_HOST" not in os.environ:
        settings["allow-insecure-host"] = pip["trusted-host"].split()
    # Of pip's kinds uv has this one alone.
    if pip.get("keyring-provider") == "subprocess" and not {"keyring-provider"} & uv.keys():
        settings["keyring-provider"] = "subprocess"
    variables = {"SSL_CERT_FILE": pip.get("cert"), "SSL_CLIENT_CERT": pip.get("client-cert")}
    variables["UV_HTTP_TIMEOUT"] = pip.get("timeout") or pip.get("default-timeout")
    # Variables of a proxy count before a file, in pip as in uv; both spellings are read.
    if not any(name.lower() in {"http_proxy", "https_proxy", "all_proxy"} for name in os.environ):
        variables["ALL_PROXY"] = pip.get("proxy")
    return settings, {name: value for name, value in variables.items() if value and name not in os.environ}


def _indexes(pip: Mapping[str, str]) -> _Settings:
    found: _Settings = {}
    if pip.get("index-url") or pip.get("extra-index-url"):
        extra = [{"url": url} for url in pip.get("extra-index-url", "").split()]
        # without an index of its own, uv's default comes last, as pip's does
        chosen = [{"url": pip["index-url"], "default": True}] if pip.get("index-url") else []
        found["index"] = [*extra, *chosen]
        # pip takes the best that any index has.
        found["index-strategy"] = "unsafe-best-match"
    # pip passes over folders that are not there.
    places = [each for each in pip.get("find-links", "").split() if "://" in each or Path(each).exists()]
    if places:
        found["find-links"] = [each if "://" in each else str(Path(each).absolute()) for each in places]
    return found


def _uv_files() -> Iterator[Path]:
    """Return the files that uv would read, the weaker ones first; a project's is none of them."""
    chosen = os.environ.get("UV_CONFIG_FILE")
    if os.environ.get("UV_NO_CONFIG", "").lower() in {"1", "true", "yes"}:
        return
    if chosen:
        yield Path(chosen).absolute()
        return
    system, user = _folders()
    yield from (folder / "uv/uv.toml" for folder in (*([Path("/etc")] if os.name == "posix" else []), *system, user))


def _read_uv(path: Path) -> _Settings:
    try:
        data = read_toml(path)
    except (OSError, ValueError):
        return {}
    kept = {key: value for key, value in data.items() if _KEPT.fullmatch(key)}
    below = {key: value for key, value in data.get("pip", {}).items() if _KEPT.fullmatch(key)}
    # Seen from the file; uv is to read a copy elsewhere.
    if "index" in kept:
        kept["index"] = [{**each, "url": _placed(each.get("url"), path)} for each in kept["index"]]
    for settings in (kept, below):
        for key in ("index-url", "cache-dir"):
            if key in settings:
                settings[key] = _placed(settings[key], path)
        for key in ("extra-index-url", "find-links"):
            if key in settings:
                settings[key] = [_placed(each, path) for each in settings[key]]
    return kept | ({"pip": below} if below else {})


def _placed(place: Any, path: Path) -> Any:
    # Two signs before the colon at least: `C:\wheels` is a path.
    is_path = isinstance(place, str) and not re.match(r"\w[\w+.-]+:", place)
    return str(path.parent / place) if is_path else place


def _read_pip() -> dict[str, str]:
    """Return what pip's files and variables say, as `pip install` reads them; the variables count most."""
    found: dict[str, str] = {}
    for path in _pip_files():
        found |= _read_pip_file(path) if os.path.exists(path) else {}
    # pip takes any option from a variable of its name, and an empty one for none.
    pairs = ((name.removeprefix("PIP_"), value) for name, value in os.environ.items() if name.startswith("PIP_"))
    return found | {name.lower().replace("_", "-"): value for name, value in pairs if value}


def _read_pip_file(path: Path) -> dict[str, str]:
    # Few users have such a file.
    from configparser import Error as ParsingError
    from configparser import RawConfigParser

    # Raw, as pip's own: a '%' in a password is no interpolation.
    parser = RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    # UnicodeDecodeError is a ValueError: a file in another encoding is passed over, pip says what is wrong with it.
    except (OSError, ValueError, ParsingError):
        return {}
    # pip reads the section of its command after the general one, which it so overrides.
    sections = filter(parser.has_section, ("global", "install"))
    return {key.replace("_", "-"): value for section in sections for key, value in parser.items(section)}


def _pip_files() -> Iterator[Path]:
    chosen = os.environ.get("PIP_CONFIG_FILE")
    # pip's documents: this reads no file at all, not even the system's.
    if chosen == os.devnull:
        return
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    system, user = _folders()
    yield from (folder / "pip" / name for folder in system)
    if os.name == "posix":
        yield Path("/etc/pip.conf")
    # Not `Path.home()`: it raises where there is no home, as in containers with a bare user id.
    home = Path(os.path.expanduser("~"))
    yield home / (".pip" if os.name == "posix" else "pip") / name
    if sys.platform == "darwin":
        yield home / "Library/Application Support/pip" / name
    yield user / "pip" / name
    yield Path(sys.prefix) / name
    if chosen:
        yield Path(chosen)


def default_cache() -> Path:
    """Return where uv keeps what it fetched, unless it is told another place."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or os.path.expanduser("~"), "uv")
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "uv")


def _folders() -> tuple[list[Path], Path]:
    """Return where the system's and the user's settings lie."""
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        return [Path(os.environ.get("PROGRAMDATA", "C:/ProgramData"))], Path(os.environ.get("APPDATA", home))
    system = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    user = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    # XDG lists the strongest folder first; here the weaker ones come first.
    return [Path(each) for each in reversed(system.split(":")) if each], Path(user)
