"""What is said where two plugins of one manifest cannot live together: who asks what of the package in question."""

import sys
from collections.abc import Iterable, Iterator, Mapping

from packaging.requirements import InvalidRequirement, Requirement

from cuvis_ai_core._error_location import frames_of, words_of
from cuvis_ai_core.errors import CuvisError, DependencyConflictError
from cuvis_ai_core.plugins.cache.target_entry import Target
from cuvis_ai_core.plugins.dependencies.distribution import Distribution, normalised
from cuvis_ai_core.plugins.dependencies.requirements import applies, needed_name


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


def refuse_own_copy(
    error: Exception, scope: str, private: Iterable[Distribution], reasons: Mapping[str, DependencyConflictError]
) -> None:
    """Raise if an import failed in something that a plugin has for itself, under names of its own.

    Pure Python usually does not mind. But a library may write into a registry that a process has once, as messages of
    protobuf and types that jax knows, or look itself up by its name, as celery does.

    Args:
        error: What the import raised.
        scope: The private package of the plugin.
        private: The distributions that it has for itself.
        reasons: The conflicts that are why, by the names of these.

    Raises:
        DependencyConflictError: It did.
    """
    if isinstance(error, CuvisError):
        return
    # The innermost frame of the plugin's copies tells whose import it was; the words of the error differ by library.
    names = [str(frame.f_globals.get("__name__")) for frame, _ in frames_of(error)]
    module = next((name.removeprefix(f"{scope}.") for name in reversed(names) if name.startswith(f"{scope}.")), "")
    for each in private:
        reason = reasons[each.name]
        mine = [root for root in each.roots if f"{module}.".startswith(f"{root}.")]
        # What is nowhere installed is missing under any name.
        if any(root in sys.modules for root in mine) or (mine and not isinstance(error, ModuleNotFoundError)):
            raise DependencyConflictError(
                f"{reason.message}\n{each.name} {each.version}, which the plugin was given for itself therefore, "
                f"cannot be imported like that: {words_of(error)}",
                hint=reason.hint,
                plugin=reason.plugin,
                requirement=reason.requirement,
                installed=reason.installed,
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
