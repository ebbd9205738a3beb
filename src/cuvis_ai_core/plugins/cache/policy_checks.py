"""What the policy of this machine says about plugins, asked wherever their code is fetched, installed or opened.

Without a policy every answer is yes. What a step does not know yet, the next one asks: the source first, then who
signed what was fetched, then what its project needs and how that is had.
"""

import os
from typing import TYPE_CHECKING, Final

from cuvis_ai_core.errors import NotAllowedError, PolicyError
from cuvis_ai_core.plugins.policy import policy
from cuvis_ai_core.plugins.policy.file_location import places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from cuvis_ai_core.plugins.cache.sources import Source
    from cuvis_ai_core.plugins.git.signatures import Signature
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
    from cuvis_ai_core.plugins.policy.policy_rules import Judgement, Policy

BUILD_VARIABLE: Final = "CUVIS_ALLOW_BUILD"
"""Names of dependencies that may be built from source, separated by commas; the commands' option `--allow-build`."""

_BOUND: Final = frozenset({"<", "<=", "==", "===", "~="})


def deciding_files() -> list[str]:
    """Return the files that say what is allowed, also those that are not there yet."""
    try:
        found = policy()
    except PolicyError:  # whoever loads something says so
        found = None
    return places() if found is None else [*places(), *map(str, found.files())]


def holds_for_good() -> bool:
    """Tell whether what was allowed stays so while no file changes: OpenPGP keys expire."""
    found = policy()
    # SSH signers are judged by the time of the signing; GnuPG by the clock of now.
    return found is None or not any(each.is_dir() for each in found.files())


def under_policy(plugins: "Mapping[str, GitPlugin | LocalPlugin]") -> "Mapping[str, GitPlugin | LocalPlugin]":
    """Return manifest entries as the policy has them: with a process of their own where it asks for that.

    Raises:
        PolicyError: It is broken.
    """
    found = policy()
    return plugins if found is None else {name: _apart(found, each) for name, each in plugins.items()}


def _apart(found: "Policy", declared: "GitPlugin | LocalPlugin") -> "GitPlugin | LocalPlugin":
    try:
        apart = found.judge(declared).apart and declared.isolation != "process"
    except NotAllowedError:  # whoever loads it says so
        return declared
    return declared.model_copy(update={"isolation": "process"}) if apart else declared


def judged(name: str, declared: "GitPlugin | LocalPlugin", *, own_process: bool) -> "Judgement | None":
    """Return under which rule a plugin may be fetched and installed; None without a policy.

    Args:
        name: Name of the plugin.
        declared: Its manifest entry.
        own_process: Whether it gets a process of its own.

    Raises:
        NotAllowedError: It may not.
    """
    found = policy()
    if found is None:
        return None
    judgement = found.judge(declared, name)
    if judgement.apart and not own_process:
        raise NotAllowedError(
            f"Plugin '{name}' is {judgement.kind} ({judgement.rule}): it may run in a process of its own only.",
            hint="Write isolation: process in its manifest entry, and lock again where there is a lock file.",
            plugin=name,
            rule=judgement.rule,
        )
    refuse_built(name, [*declared.build, *allowed_builds()])
    return judgement


def signed(
    name: str,
    declared: "GitPlugin | LocalPlugin",
    source: "Source",
    meanwhile: "Callable[[], object] | None" = None,
) -> "Signature | None":
    """Return who signed the tag of a checkout, where the policy asks for that.

    Args:
        name: Name of the plugin.
        declared: Its manifest entry.
        source: Its code.
        meanwhile: What to do in this thread while git looks.

    Raises:
        NotAllowedError: The plugin may not be loaded.
        SignatureError: The tag is not signed as the policy asks.
    """
    found = policy()
    judgement = None if found is None else found.judge(declared, name)
    if judgement is None or judgement.signers is None:
        return None
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin

    assert isinstance(declared, GitPlugin)  # no other rule has signers
    from cuvis_ai_core.plugins.git.signatures import verified

    commit = str(source.commit)
    return verified(source.folder, declared.tag, commit, judgement.signers, judgement.rule, meanwhile)


def refused_distributions(distributions: "Mapping[str, str]") -> dict[str, NotAllowedError]:
    """Return why pip-installed plugins take no part, of those that the policy does not allow.

    Args:
        distributions: The distribution of each plugin.

    Raises:
        PolicyError: It is broken.
    """
    found = policy()
    refused: dict[str, NotAllowedError] = {}
    if found is None:
        return refused
    for name, distribution in distributions.items():
        try:
            found.judge_distribution(distribution, name)
        except NotAllowedError as error:
            refused[name] = error
    return refused


def refuse_unlocked(name: str) -> None:
    """Raise if the policy lets plugins be loaded by a lock file only.

    Raises:
        NotAllowedError: It does.
    """
    found = policy()
    if found is not None and found.require.lock:
        raise _required(found, "lock", f"Plugin '{name}' is not locked.", "Write a lock file: cuvis-ai plugins lock")


def refuse_requirements(name: str, requirements: "Iterable[str]", extras: "Iterable[str]" = ()) -> None:
    """Raise if the requirements of a plugin are not as the policy asks.

    Raises:
        NotAllowedError: One has no upper bound, or would be built from source.
    """
    found = policy()
    if found is None or not (found.require.bounded_dependencies or found.require.wheels_only):
        return
    from cuvis_ai_core.plugins.dependencies.requirements import applies, needed_name

    counting = [each for each in requirements if applies(each, tuple(extras))]
    if found.require.wheels_only:
        refuse_built(name, [each for each in counting if _is_source(each)])
    free = unbounded(counting)
    if found.require.bounded_dependencies and free:
        what = f"Plugin '{name}' has dependencies without an upper bound: {', '.join(free)}."
        hint = f"Ask its author for bounds, as in {needed_name(free[0])}>=1,<2."
        raise _required(found, "bounded_dependencies", what, hint)


def unbounded(requirements: "Iterable[str]") -> list[str]:
    """Return the requirements that any later version of a dependency would meet."""
    return [each for each in requirements if not _is_bounded(each)]


def allowed_builds() -> list[str]:
    """Return the names of the dependencies that the user allows to be built, whichever plugin needs them."""
    return [name for each in os.environ.get(BUILD_VARIABLE, "").split(",") if (name := each.strip())]


def asks_for_wheels() -> bool:
    """Tell whether the policy lets wheels be installed only."""
    found = policy()
    return found is not None and found.require.wheels_only


def refuse_built(name: str, built: "Iterable[str]") -> None:
    """Raise if something would be built from source, and the policy lets wheels be installed only.

    Raises:
        NotAllowedError: It does.
    """
    found, dependencies = policy(), sorted(set(built))
    if found is not None and found.require.wheels_only and dependencies:
        what = f"Plugin '{name}' would have this built from source, to run or for its build: {', '.join(dependencies)}."
        hint = f"Leave 'build' and {BUILD_VARIABLE} away, and take versions that have wheels."
        raise _required(found, "wheels_only", what, hint)


def refuse_sources(name: str, pins: "Iterable[str]") -> None:
    """Raise if one of the chosen pins is no wheel, and the policy lets wheels be installed only.

    Raises:
        NotAllowedError: It does.
    """
    refuse_built(name, [pin for pin in pins if _is_source(pin)])


def refuse_stored(root: "Path", title: str, code: "Iterable[str]") -> None:
    """Raise if what lies in the plugin cache may not be opened here: it may have been loaded under another policy.

    Args:
        root: The plugin cache.
        title: What the plugin's modules are called after: the name of its checkout, or a name and a hash of its path.
        code: Folders of a local plugin's code.

    Raises:
        NotAllowedError: It may not be loaded, or in a process of its own only.
        SignatureError: The tag is not signed as the policy asks.
    """
    found = policy()
    if found is None:
        return
    from cuvis_ai_core.plugins.cache.checkout_entry import read_marker
    from cuvis_ai_core.plugins.cache.sources import Source
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin

    name, checkout = title.partition("@")[0], root / title
    marker = read_marker(checkout)
    if marker is not None:
        # Judged by its source: which classes it has, a marker does not say and a policy does not ask.
        declared = GitPlugin(repo=marker["repo"], tag=marker["tag"], provides=("any.Node",))
        judged(name, declared, own_process=False)
        signed(name, declared, Source(checkout, marker["commit"], marker["content"]))
        return
    from pathlib import Path

    folders = [Path(each) for each in code if each]
    if not folders:
        raise found.refusal(f"'{title}' of {root}, whose repository is not known any more", "repo: …", name)
    for folder in folders:
        _judge_above(found, folder, name)


def _judge_above(found: "Policy", folder: "Path", name: str) -> None:
    """Judge a folder of code by that of the project that it is in."""
    # A policy names the project's folder; what is recorded of a local plugin is `src` below it.
    projects = [each for each in (folder, *folder.parents) if (each / "pyproject.toml").is_file()]
    for place in (*projects, folder):
        try:
            if not found.judge(place, name).apart:
                return
        except NotAllowedError:
            continue
    raise found.refusal(f"the folder {folder} in this process", f'path: "{(projects or [folder])[0]}"', name)


def _required(found: "Policy", requirement: str, what: str, hint: str) -> NotAllowedError:
    place = found.place_of(requirement)
    return NotAllowedError(
        f"{what} The policy asks for {requirement} ({place}).",
        hint=f"{hint} {found.who()} can change that.",
        rule=place,
    )


def _is_source(requirement: str) -> bool:
    """Tell whether a requirement, or a pin, names something by an address that is no wheel."""
    _, named, address = requirement.partition("@")
    return bool(named) and not address.partition("#")[0].partition(" ;")[0].strip().endswith(".whl")


def _is_bounded(requirement: str) -> bool:
    import re

    from packaging.requirements import Requirement

    parsed = Requirement(requirement)
    if parsed.url:
        # One file, or one commit: no later version can meet it.
        return bool(re.search(r"\.whl($|#)|@[0-9a-f]{40}", parsed.url))
    # `!=` and `>` leave the top open.
    return any(each.operator in _BOUND for each in parsed.specifier)
