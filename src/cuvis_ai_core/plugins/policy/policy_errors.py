"""What is said about a policy that breaks a rule: every broken rule, with file and line, in one error."""

import errno
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cuvis_ai_core._nearest import advice, nearest
from cuvis_ai_core._redact import redact
from cuvis_ai_core.errors import ManifestError, PolicyError
from cuvis_ai_core.plugins.manifest.field_checks import kind_of, show
from cuvis_ai_core.plugins.manifest.validation_errors import Keys, dotted, unknown_key
from cuvis_ai_core.plugins.policy.policy_schema import MODELS, RULE_KEYS, PolicyFile, Require

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from cuvis_ai_core._yaml import YamlDocument

FORM: Final = """\
A policy looks like this:
  allow:
    - {repo: "https://github.com/our-lab/*", signed_by: lab_signers}
    - {path: "/srv/plugins/*", kind: private}
  signers:
    lab_signers: allowed_signers
  require: {lock: true}
  isolation: {community: process}"""

_SHOWN: Final = 20

_MEANT: Final = {"url": "repo", "folder": "path", "signer": "signed_by", "package": "distribution", "deny": "allow"}


def broken(errors: Sequence["ErrorDetails"], path: Path, document: "YamlDocument") -> PolicyError:
    """Return the one error for all that pydantic found in a policy."""
    found = [(_keys(error["loc"]), _text(error)) for error in errors]
    return wrong(path, document, found)


def wrong(path: Path, document: "YamlDocument", found: Iterable[tuple[Keys, str]]) -> PolicyError:
    """Return the error for what is wrong in some places of a policy."""
    placed = sorted(((document.nearest_line(*keys) or 1, keys, text) for keys, text in found), key=lambda each: each[0])
    texts = [f"{path}:{line}: {f'{dotted(keys)}: ' if keys else ''}{text}" for line, keys, text in placed[:_SHOWN]]
    if rest := len(placed) - len(texts):
        texts.append(f"... and {rest} more")
    return PolicyError(redact("\n".join(texts)), hint=f"{FORM}\nNo plugin is loaded until it is right.", path=path)


def unreadable(path: Path, why: str) -> PolicyError:
    """Return the error for a policy that cannot be read."""
    hint = FORM
    if os.strerror(errno.EACCES) in why:
        hint = "Set HOME to a folder of your own (sudo -H), or name the policy: CUVIS_POLICY=FILE"
    return PolicyError(
        f"The policy {path} cannot be read: {why.rstrip('.')}. No plugin is loaded.", hint=hint, path=path
    )


def _keys(loc: Keys) -> Keys:
    """Return the keys as they stand in the file, without pydantic's own."""
    keys = tuple(key for key in loc if key != "[key]")
    return keys[:2] + keys[3:] if keys[:1] == ("allow",) and keys[2:] and keys[2] in MODELS else keys


def _text(error: "ErrorDetails") -> str:
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, ManifestError):
        return cause.message
    say = _SENTENCES.get(error["type"])
    return say(error) if say else _OTHERS.get(error["type"], error["msg"]).format(kind_of(error["input"]))


def _known(loc: Keys) -> Collection[str]:
    match loc:
        case ("allow", _, kind, *_) if kind in MODELS:
            return MODELS[str(kind)].model_fields
        case ("require", *_):
            return Require.model_fields
    return PolicyFile.model_fields


def _no_rule(value: object) -> str:
    if not isinstance(value, Mapping):
        return f'is {kind_of(value)}; a rule is a mapping, as in {{repo: "https://github.com/our-lab/*"}}'
    has = [key for key in RULE_KEYS if key in value]
    if has:
        return f"has {' and '.join(has)}; write a rule for each"
    meant = (_MEANT.get(key.lower(), key) for key in map(str, value))
    near = next((near for key in meant if (near := nearest(key, RULE_KEYS))), None)
    advised = f"did you mean '{near}'?" if near else "a rule has one of them"
    return f"has neither {', '.join(RULE_KEYS[:-1])} nor {RULE_KEYS[-1]}; {advised}"


def _no_choice(error: "ErrorDetails") -> str:
    possible = [each.strip("'") for each in str(error["ctx"]["expected"]).replace(" or ", ", ").split(", ")]
    meant = advice(str(error["input"]), possible, f"possible are {', '.join(possible)}")
    return f"{show(error['input'])} is not possible here; {meant}"


_SENTENCES: Final[Mapping[str, Callable[["ErrorDetails"], str]]] = {
    "extra_forbidden": lambda error: unknown_key(error["loc"][-1], _known(error["loc"]), _MEANT),
    "union_tag_not_found": lambda error: _no_rule(error["input"]),
    "literal_error": _no_choice,
}
_OTHERS: Final = {
    "missing": "is missing; write which plugins may be loaded, or 'allow: []' for none",
    "list_type": "is {}, not a list; write a line with '- ' for each rule",
    "dict_type": "is {}, not a mapping",
    "model_type": "is {}, not a mapping",
    "string_type": "is {}, not text; write one value in quotes",
    "bool_type": "is {}; write true or false",
}
