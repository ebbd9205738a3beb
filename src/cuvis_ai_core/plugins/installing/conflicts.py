"""What is said where two plugins of one manifest cannot live together: who asks what of the package in question."""

from collections.abc import Iterator, Mapping

from packaging.requirements import InvalidRequirement, Requirement

from cuvis_ai_core.errors import DependencyConflictError
from cuvis_ai_core.plugins.cache.target import Target
from cuvis_ai_core.plugins.dependencies.distribution import normalised


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


def _asked(target: Target, package: str) -> Iterator[str]:
    installed = next((each.version for each in target.needed if each.name == package), None)
    has = f" and was given {installed}" if installed else ""
    for each in (target.plugin, *target.needed):
        for text in each.requires:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and normalised(requirement.name) == package:
                requirement.marker = None
                yield f"package {each.name} requires {requirement}{has}"
