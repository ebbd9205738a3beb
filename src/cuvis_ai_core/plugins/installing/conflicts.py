"""What is said where two plugins of one manifest cannot live together: who asks what of the package in question."""

import sys
from collections.abc import Iterator, Mapping, Sequence

from packaging.requirements import InvalidRequirement, Requirement

from cuvis_ai_core._error_location import frames_of, words_of
from cuvis_ai_core.errors import CuvisError, DependencyConflictError
from cuvis_ai_core.plugins.cache.target_entry import Target
from cuvis_ai_core.plugins.dependencies.distribution import Distribution, normalised
from cuvis_ai_core.plugins.dependencies.requirements import WAY_OUT, applies, host_version, needed_name


def with_all_demands(error: DependencyConflictError, targets: Mapping[str, Target]) -> DependencyConflictError:
    """Return the error for a conflict with the requirements of all plugins that have a say in it.

    Args:
        error: What was found.
        targets: The target directories of the manifest's plugins, by their names.
    """
    package = normalised(Requirement(error.requirement).name)
    asked = {name: list(_asked(target, package)) for name, target in targets.items()}
    concerned = {name: lines for name, lines in asked.items() if lines}
    if len(concerned) < 2:  # noqa: PLR2004 - it takes two to disagree
        return error
    lines = "\n".join(f"  plugin '{name}': {line}" for name, asks in concerned.items() for line in asks)
    return DependencyConflictError(
        f"{error.message}\nThe plugins of the manifest ask of {package}:\n{lines}",
        hint=error.hint,
        plugin=error.plugin,
        requirement=error.requirement,
        installed=error.installed,
    )


def refuse_second_of_a_kind(error: Exception, scope: str, private: Sequence[Distribution], plugin: str) -> None:
    """Raise if an import failed in a plugin's own copy of something of which this process has another one as well.

    Pure Python usually does not mind. But a library may write into a registry that a process has once: messages of
    protobuf, types that jax knows.

    Args:
        error: What the import raised.
        scope: The private package of the plugin.
        private: The distributions that it has for itself.
        plugin: Name of its distribution.

    Raises:
        DependencyConflictError: It did.
    """
    if isinstance(error, CuvisError):
        return
    # The innermost frame of the plugin's copies tells whose import it was; the words of the error differ by library.
    names = [str(frame.f_globals.get("__name__")) for frame, _ in frames_of(error)]
    module = next((name.removeprefix(f"{scope}.") for name in reversed(names) if name.startswith(f"{scope}.")), "")
    for each in private:
        if any(f"{module}.".startswith(f"{root}.") and root in sys.modules for root in each.roots):
            other = host_version(each.name) or "another version"
            raise DependencyConflictError(
                f"Dependency conflict: package {plugin} was given {each.name} {each.version}, which cannot be imported "
                f"where {each.name} {other} is imported: {words_of(error)}",
                hint=WAY_OUT,
                plugin=plugin,
                requirement=f"{each.name}=={each.version}",
                installed=other,
            ) from error


def _asked(target: Target, package: str) -> Iterator[str]:
    installed = next((each.version for each in target.needed if each.name == package), None)
    has = f" and was given {installed}" if installed else ""
    for each in (target.plugin, *target.needed):
        for text in each.requires:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            if applies(text) and needed_name(text) == package:
                requirement.marker = None
                yield f"package {each.name} requires {requirement}{has}"
