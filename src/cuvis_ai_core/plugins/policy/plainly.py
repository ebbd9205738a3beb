"""Whether the policy of this machine surely lets a repository be asked, told without what checks policies wholly.

That takes longer to import than git takes to start. So only a plain file is understood here, and no more of it than
decides about the address. Of all others the whole check says more, later; and it has the last word about these too.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cuvis_ai_core.errors import YamlError
from cuvis_ai_core.plugins.policy.addresses import address_of, matches
from cuvis_ai_core.plugins.policy.finding import may_be_there, places

_KEYS: Final = frozenset({"allow", "signers", "require", "isolation"})

_USUAL: Final[tuple[tuple[str, object], ...]] = (("allow", None), ("signers", {}), ("require", {}))

_RULE_KEYS: Final = frozenset({"repo", "kind", "signed_by"})

_ASKED_LATER: Final = "bounded_dependencies"
"""What may be required and is seen in the plugin's project only; anything else may refuse a plugin before."""


def surely_allows(repo: str) -> bool:
    """Tell whether a policy is there that allows a repository, and that for sure.

    Args:
        repo: Address of the repository.
    """
    from cuvis_ai_core._yaml import load_yaml

    path = next(map(Path, filter(may_be_there, places())), None)
    if path is None:
        return False
    try:
        proves = os.name != "posix" or not path.stat().st_mode & stat.S_IWOTH
        return proves and _is_allowed(load_yaml(path).data, repo, path.parent)
    except (OSError, YamlError):
        return False


def _is_allowed(content: object, repo: str, folder: Path) -> bool:
    if not isinstance(content, Mapping) or not content.keys() <= _KEYS:
        return False
    rules, signers, required = (content.get(key, usual) for key, usual in _USUAL)
    if not (isinstance(rules, list) and isinstance(signers, Mapping) and isinstance(required, Mapping)):
        return False
    if any(wanted for key, wanted in required.items() if key != _ASKED_LATER):
        return False
    decides = _first(rules, repo)
    name = None if decides is None else decides.get("signed_by")
    return decides is not None and (name is None or _is_there(signers.get(name), folder))


def _first(rules: list[object], repo: str) -> Mapping[str, str] | None:
    """Return the rule that decides about an address; None if there is none, or one before it is not plain."""
    address = address_of(repo)
    if address is None:
        return None
    for rule in rules:
        if not isinstance(rule, Mapping) or not all(isinstance(text, str) for text in rule.values()):
            return None
        if "repo" in rule:
            pattern = address_of(rule["repo"]) if rule.keys() <= _RULE_KEYS else None
            if pattern is None:
                return None
            if matches(pattern, address):
                return rule
    return None


def _is_there(place: object, folder: Path) -> bool:
    return isinstance(place, str) and (folder / os.path.expanduser(place)).exists()  # noqa: PTH111 - as the policy does
