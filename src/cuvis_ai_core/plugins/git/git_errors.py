"""What git says when it fails, and what that means."""

import re
from typing import Final, NamedTuple

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core._subprocess import Finished
from cuvis_ai_core.errors import AuthenticationError, NetworkError, RepositoryNotFoundError, SourceError
from cuvis_ai_core.plugins.git.url_credentials import has_password

_SHOWN: Final = 6
"""Lines of git's that are shown, the last ones."""


class _Meaning(NamedTuple):
    pattern: str
    kind: type[SourceError]
    means: str
    step: str


_TRY: Final = "Try it by hand: git ls-remote {address}"

# What git says about a host, in the C locale, the more telling first.
_MEANINGS: Final = (
    _Meaning(
        r"Host key verification failed",
        AuthenticationError,
        "The host's ssh key is not known here",
        "Connect once by hand, compare the key, and accept it: git ls-remote {address}",
    ),
    _Meaning(
        r"CONNECT tunnel failed|code 407 from proxy|Proxy Authentication|error: 407|[Cc]ould not resolve proxy"
        r"|SOCKS\d? |proxy CONNECT",
        NetworkError,
        "The proxy does not let git through",
        "Check the proxy settings (https_proxy, and http.proxy of git) and the proxy's password.",
    ),
    _Meaning(
        r"certificate|gnutls_handshake|SSL peer|SSL_connect|CAfile",
        NetworkError,
        "git does not trust the host's certificate, or cannot agree with it on encryption",
        "Have git trust it: git config --global http.sslCAInfo FILE",
    ),
    _Meaning(
        r"could not read (Username|Password)|Authentication failed|terminal prompts disabled|Permission denied"
        r"|error: 40[13]",
        AuthenticationError,
        "The repository asks for credentials that git does not have",
        "Store credentials with a git credential helper or an ssh key, and check the address: git ls-remote {address}",
    ),
    _Meaning(
        r"cannot run ssh|ssh: (command )?not found|ssh: No such file",
        SourceError,
        "git needs the program ssh for this address",
        "Install an ssh client, or use the https address of the repository.",
    ),
    _Meaning(
        r"remote helper '?https?'?|remote-https?' is not a git command",
        SourceError,
        "This git was built without http",
        "Install git with curl support, or use the ssh address of the repository.",
    ),
    _Meaning(
        r"transport '\w+' not allowed|protocol '\w+' is not supported",
        SourceError,
        "This way of fetching is switched off",
        "Check GIT_ALLOW_PROTOCOL, protocol.allow and url.….insteadOf in git's configuration.",
    ),
    _Meaning(
        r"error: (408|429|5\d\d)",
        NetworkError,
        "The host has trouble of its own",
        "Try again later; by hand: git ls-remote {address}",
    ),
    _Meaning(
        r"error: 413",
        SourceError,
        "The host, or a proxy before it, takes no request as large as git's (HTTP 413)",
        "Have whoever runs it raise its limit of a request's size, or use the ssh address of the repository.",
    ),
    # Of a repository that is not there git learns earlier: it asks for the list of references first.
    _Meaning(
        r"RPC failed; HTTP 404",
        SourceError,
        "The host lists what the repository has, and has no answer to who fetches it (HTTP 404)",
        "See that a proxy or a mirror lets git's POST requests through: git fetch {address}",
    ),
    _Meaning(
        r"error: (?!404)4\d\d",
        SourceError,
        "The host answers, and refuses what git asks, by the HTTP status that git names",
        "Check the address, and what the host or a proxy before it allows: git fetch {address}",
    ),
    _Meaning(
        r"[Cc]ould not (resolve|connect)|[Ff]ailed to connect|[Cc]onnection|timed out|unreachable|SSL|gnutls"
        r"|RPC failed|early EOF|hung up|unexpected disconnect|transfer closed|Empty reply",
        NetworkError,
        "The host cannot be reached, or broke off",
        "Check the network and the proxy settings: git ls-remote {address}",
    ),
    _Meaning(
        r"bad line length|protocol error|info/refs not valid|invalid server response|bad pack|expected '?ack",
        SourceError,
        "What the host answers is not what Git hosts answer",
        "Check the address: git ls-remote {address}",
    ),
    _Meaning(
        r"not found|does not appear to be a git repository|[Cc]ould not read from remote|error: 404",
        RepositoryNotFoundError,
        "There is no such repository, or it is hidden from whom git logs in as: hosts say the same of both",
        "Check the address and, for a private repository, the credentials of git: git ls-remote {address}",
    ),
)


# Of credentials that expired, large hosts say the same as of an address that is wrong; unlike one that cannot be
# reached, or asks for a password, the host has answered.
_NOT_OPENED: Final = _Meaning(
    "",
    RepositoryNotFoundError,
    "There is no such repository, or the credentials in its address do not open it: hosts say the same of both",
    "Make a new token where the old one has expired or may not read this repository, and check the address: "
    "git ls-remote {address}",
)


def unreachable(finished: Finished, task: str, url: str) -> SourceError:
    """Return the error for what git says about a host; its own words come first.

    Args:
        finished: What it left behind.
        task: What it was to do, as `fetch`.
        url: Address of the repository.
    """
    address = without_credentials(url)
    found = (each for each in _MEANINGS if re.search(each.pattern, finished.stderr))
    meaning = next(found, _Meaning("", SourceError, "", _TRY))
    if meaning.kind is RepositoryNotFoundError and has_password(url):
        meaning = _NOT_OPENED
    means = f"\n{meaning.means}." if meaning.means else ""
    return meaning.kind(
        f"git could not {task} {address}:\n{words(finished)}{means}",
        hint=meaning.step.format(address=address),
        location=address,
    )


def words(finished: Finished) -> str:
    """Return the end of what git says, where the reason stands, one line each."""
    lines = [line.strip() for line in finished.stderr.splitlines() if line.strip()]
    # git reports progress and hints first, the reason last; a host's banner may come before both.
    return "\n".join(f"  {line}" for line in lines[-_SHOWN:]) or "  (git says nothing)"
