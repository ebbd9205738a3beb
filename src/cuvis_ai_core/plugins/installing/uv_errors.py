"""What uv says when it fails, and what that means."""

import re
from typing import Final, TypeAlias

from cuvis_ai_core.errors import (
    BuildError,
    DependencyConflictError,
    DependencyNotFoundError,
    InstallError,
    NetworkError,
    OfflineError,
)
from cuvis_ai_core.plugins.dependencies.requirements import WAY_OUT

Kind: TypeAlias = type[InstallError] | type[NetworkError]

# Words of uv 0.13, to which the package is pinned: it has no codes. The first match counts, so the narrow ones come
# first.
_NOT_FOUND: Final = (
    r"was not found in the package registry|there (?:is|are) no versions? of|only .* (?:is|are) available"
    r"|does not have an extra|no wheels? (?:with|are)|ha(?:s|ve) no usable wheels"
)
_UNREACHABLE: Final = r"Could not (?:resolve host|connect)|[Ff]ailed to connect|timed out|refused"

CHECK_NETWORK: Final = "Check the network, the proxy and uv's index settings, and try again."
_CREDENTIALS: Final = (
    "Give uv the credentials of that host: in UV_INDEX_<NAME>_USERNAME and _PASSWORD, in ~/.netrc, or by a keyring "
    "(UV_KEYRING_PROVIDER=subprocess)."
)
_PROXY: Final = "Check the proxy settings (HTTPS_PROXY, or pip's proxy) and the proxy's password."
_CERTIFICATE: Final = (
    "uv does not trust that certificate: name the file with those to trust (SSL_CERT_FILE=FILE), or take the system's "
    "(UV_SYSTEM_CERTS=1)."
)
_LATER: Final = "The host has trouble of its own: try again later."

_CORRECT: Final = "Correct the dependencies in the plugin's pyproject.toml."
_ALLOW_BUILD: Final = (
    "{0} has no wheel for this Python and this system, only source. Whoever builds it runs its code: allow that in the "
    "plugin's manifest entry (build: [{0}]) or with the option --allow-build {0}.\n"
    f"Or else: {_CORRECT[0].lower()}{_CORRECT[1:]}"
)
_NO_VERSION: Final = (
    r"unable to detect version.*Failed to build|Error getting the version from source `vcs`"
    r"|Cannot find the version from SCM|Versioning for this project requires either an sdist"
)
_STATE_VERSION: Final = (
    "The project takes its version from Git, but the plugin's tag states none. Tag it with one: "
    "v1.2.0, 1.2.0, release/1.2.0 or name-1.2.0."
)

_TELLS_NOTHING: Final = r"Using Python|warning: Requirements file .*constraints\.txt. does not contain any dependencies"

_NO_WHEEL: Final = r"Wheels are required for `([^`]+)` because building from source is disabled"
_NO_BUILD: Final = r"[Bb]uilding source distributions for `([^`]+)` is disabled"  # of what a folder or address holds

_NOT_DRY: Final = (
    "It needs building, which runs its code, and a dry run runs none. If you trust it, do it without --dry-run."
)

# What uv says, on one line, and what it means with the next step; without one, the step is to try it by hand.
_MEANINGS: Final[tuple[tuple[str, Kind, str | None], ...]] = (
    (_NO_WHEEL, DependencyNotFoundError, _ALLOW_BUILD),
    (r"[Bb]uilding source distributions.* is disabled", BuildError, _NOT_DRY),
    (_NO_BUILD, DependencyNotFoundError, _ALLOW_BUILD),
    (
        r"[Nn]etwork (?:was|connectivity is) disabled",
        OfflineError,
        "uv was told to stay offline (UV_OFFLINE or its configuration): let it use the network once.",
    ),
    (
        r"lack of valid authentication credentials|returned a 403 Forbidden|HTTP status client error \(40[13]",
        DependencyNotFoundError,
        _CREDENTIALS,
    ),
    (r"HTTP status client error \(404", DependencyNotFoundError, _CORRECT),
    (r"407 Proxy|proxy authorization required|tunnel error", NetworkError, _PROXY),
    (r"invalid peer certificate|certificate verify failed|UnknownIssuer", NetworkError, _CERTIFICATE),
    (r"HTTP status (?:client error \(429|server error \(5\d\d)", NetworkError, _LATER),
    (
        rf"Failed to fetch: |error sending request for url|Git operation failed.*(?:{_UNREACHABLE})",
        NetworkError,
        CHECK_NETWORK,
    ),
    (r"Failed to parse environment variable", InstallError, "Correct that environment variable, or unset it."),
    (r"Failed to read `--find-links`", InstallError, "Correct find-links in the settings of uv or pip."),
    (rf"No solution found.*(?:{_NOT_FOUND})", DependencyNotFoundError, _CORRECT),
    (r"No solution found", DependencyConflictError, WAY_OUT),
    (
        _NO_VERSION,
        BuildError,
        _STATE_VERSION,
    ),
    (r"Failed to build|Build backend|build_editable", BuildError, None),
    (r"Distribution not found at", DependencyNotFoundError, _CORRECT),
    (
        r"Git operation failed",
        DependencyNotFoundError,
        "Check the address of that dependency, and that git has credentials for it.",
    ),
)


def meaning(output: str, *, dry: bool = False) -> tuple[Kind, str | None]:
    """Return the class of error that fits what uv said, and the next step; None where that is to try it by hand.

    Args:
        output: What it said.
        dry: Whether it was told to build nothing at all.
    """
    line = " ".join(output.split())  # uv wraps its lines as the terminal is wide
    found = (
        (kind, hint and hint.format(*match.groups()))
        for pattern, kind, hint in _MEANINGS
        if (dry or hint is not _NOT_DRY) and (match := re.search(pattern, line))
    )
    return next(found, (InstallError, None))


def source_only(output: str) -> list[str]:
    """Return the names of what uv did not build from source, for it was told not to."""
    line = " ".join(output.split())
    return list(dict.fromkeys([*re.findall(_NO_WHEEL, line), *re.findall(_NO_BUILD, line)]))


def telling_lines(output: str) -> list[str]:
    """Return the end of what uv says, where the reason stands."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip() and not re.match(_TELLS_NOTHING, line)]
    # uv tells the story of a failed resolution first, and the reason at its end.
    return lines[-20:]
