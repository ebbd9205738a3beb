"""Whether the policy of this machine surely lets a repository be asked, told without what checks policies wholly.

That takes longer to import than git takes to start. So only a plain file is understood here, and no more of it than
decides about the address. Of all others the whole check says more, later; and it has the last word about these too.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.plugins.policy import patterns
from cuvis_ai_core.plugins.policy.addresses import address_of
from cuvis_ai_core.plugins.policy.file_location import is_named, may_be_there, named_relatively, places
from cuvis_ai_core.plugins.policy.file_permissions import writable_by_all

_KEYS: Final = frozenset({"allow", "signers", "require", "isolation"})

_KINDS: Final = frozenset({"official", "private", "community"})

_CHECKS: Final = {
    "repo": patterns.check_repo,
    "path": patterns.check_path,
    "distribution": patterns.check_distribution,
}

_ASKED_LATER: Final = "bounded_dependencies"
"""What may be required and is seen in the plugin's project only; anything else may refuse a plugin before."""


def surely_allows(repo: str) -> bool:
    """Tell whether a policy is there that allows a repository, and that for sure."""
    from cuvis_ai_core._untrusted_files import load_yaml

    path = next(map(Path, filter(may_be_there, places())), None)
    if path is None or (is_named() and named_relatively()):
        return False
    try:
        return _is_allowed(load_yaml(path).data, repo, path)
    except (OSError, CuvisError):
        return False


def _is_allowed(content: object, repo: str, path: Path) -> bool:
    if not isinstance(content, Mapping) or not content.keys() <= _KEYS or "allow" not in content:
        return False
    rules, signers = content["allow"], content.get("signers", {})
    required, isolation = content.get("require", {}), content.get("isolation", {})
    return (
        isinstance(required, Mapping)
        and required.keys() <= {_ASKED_LATER}
        and all(type(each) is bool for each in required.values())
        and _is_plain(isolation, _KINDS, frozenset({"scoped", "process"}))
        and _are_there(signers, path)
        and isinstance(rules, list)
        and all(_is_rule(each, signers) for each in rules)
        and _decides(rules, repo)
    )


def _is_plain(table: object, keys: frozenset[str], values: frozenset[str]) -> bool:
    if not isinstance(table, Mapping) or not table.keys() <= keys:
        return False
    return all(isinstance(each, str) and each in values for each in table.values())


def _are_there(signers: object, path: Path) -> bool:
    """Tell whether all signers are there, and neither they nor the policy may be written by everybody."""
    if not isinstance(signers, Mapping) or not all(isinstance(place, str) for place in signers.values()):
        return False
    found = [path.parent / os.path.expanduser(place) for place in signers.values()]
    return all(place.exists() for place in found) and writable_by_all(path, *found) is None


def _is_rule(rule: object, signers: Mapping[str, str]) -> bool:
    """Tell whether a rule is one, and plain; of one that is not, checking raises an error."""
    if not isinstance(rule, Mapping) or not all(isinstance(text, str) for text in rule.values()):
        return False
    about = [key for key in _CHECKS if key in rule]
    if len(about) != 1 or rule.get("kind", "private") not in _KINDS:
        return False
    _CHECKS[about[0]](rule[about[0]])
    more = {"kind", "signed_by"} if about == ["repo"] else {"kind"}
    return rule.keys() <= {about[0], *more} and ("signed_by" not in rule or rule["signed_by"] in signers)


def _decides(rules: list[Mapping[str, str]], repo: str) -> bool:
    address = address_of(repo)
    allowed = (address_of(rule["repo"]) for rule in rules if "repo" in rule)
    return address is not None and any(each is not None and patterns.matches(each, address) for each in allowed)
