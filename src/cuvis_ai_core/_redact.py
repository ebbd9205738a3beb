"""Credentials are taken out of every text before a person or a log sees it."""

import re
from typing import Final

# The bounds keep the search linear. The third form is for passwords with a `/`, `?` or `#` that should have been
# escaped; what tells it from host and port is that a port has only digits.
_CREDENTIALS: Final = r"""
      (?<=://) [^\s/?#]* @
    | (?<=://) [^\s/:@]* : (?! \d* (?: [/?#\s'"),;>\]] | $ ) ) \S{0,400} @
    | (?<! [^\s'"(\[{<=,] ) [^\s/:@'"]{1,100} : [^\s/@]{1,400} @ (?= [\w\[] )   # without a scheme
    """
_SIGNED: Final = r"""
    (?<= [?&] ) ( X-Amz-(?:Signature|Credential|Security-Token) | AWSAccessKeyId | X-Goog-(?:Signature|Credential)
    | Signature | sig | token | access_token | auth | key | api_?key | password ) = [^&\s'"]+
    """
"""What lets anybody in who has the address."""

_SSH_USER: Final = r"[^:@]*@"


def redact(text: str) -> str:
    """Return `text` with `***` for the user name and the password of every URL in it, and for what signs it.

    A user name alone stays for ssh (`ssh://git@host/…`, `git@host:…`), where it is no secret. Where the end
    of a password cannot be told, rather more than too little is removed.
    """
    # Compiled, and kept by `re`, for the first text that needs it: every load imports this module.
    if "@" in text:
        text = re.sub(_CREDENTIALS, _stars, text, flags=re.VERBOSE)
    if "?" in text and "://" in text:
        text = re.sub(_SIGNED, r"\1=***", text, flags=re.VERBOSE | re.IGNORECASE)
    return text


def _stars(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - 6) : match.start()]
    return match[0] if before.lower() == "ssh://" and re.fullmatch(_SSH_USER, match[0]) else "***@"


def without_credentials(url: str) -> str:
    """Return the address of a repository without user name and password, as it may be stored and compared."""
    return redact(url).replace("***@", "", 1)
