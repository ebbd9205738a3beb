"""Configurations: found, composed, overridden, and resolved without the server's environment."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core.errors import ServiceError, YamlError
from cuvis_ai_core.grpc.server.symlink_races import reading
from cuvis_ai_core.pipeline.file.interpolation import resolve
from cuvis_ai_core.pipeline.file.overrides import override

if TYPE_CHECKING:
    from pathlib import Path

    from cuvis_ai_core.grpc.server.call_context import Call

SUFFIXES: Final = (".yaml", ".yml", "")
KINDS: Final = ("pipeline", "trainrun", "data", "training")
_NOT_CONTENT: Final = frozenset({"defaults", "hydra"})
_SIGNS: Final = re.compile(r"\$\{|[{}:]")
_MOST_OVERRIDES: Final = 200


def resolved(call: "Call") -> dict[str, Any]:
    """Return the content of the configuration that a ResolveConfig request names, with its overrides.

    Raises:
        ServiceError: There is no such kind or file, or it names what clients may not see.
        CuvisError: It cannot be read or composed, or an override breaks a rule.
    """
    request = call.request
    check_kind(request.config_type)
    if len(request.overrides) > _MOST_OVERRIDES:
        raise ServiceError(f"A call has up to {_MOST_OVERRIDES} overrides.", code="INVALID_ARGUMENT")
    paths = call.session.search_paths
    folders = [*paths, *(folder / request.config_type for folder in paths)]
    own = call.service.settings.configs_dir.resolve()
    file = call.service.roots.file(request.path, [*folders, own, own / request.config_type], SUFFIXES)
    content = without_resolvers(override(_read(call, file), list(request.overrides)))
    done = resolve(content)
    assert isinstance(done, dict)
    return done


def without_resolvers(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return content in which no interpolation asks for more than another key of it.

    Raises:
        ServiceError: One asks for a variable of the environment, or for anything else of this machine.
    """
    for text in _texts(content):
        if _calls_something(text):
            raise ServiceError(
                f"'{text[:80]}' asks for something of the server's machine; clients get other keys of the file only.",
                code="INVALID_ARGUMENT",
            )
    return dict(content)


def _calls_something(text: str) -> bool:
    """Tell whether a colon stands in an interpolation: before it is the name of a function, which may be one itself."""
    open_at: list[str] = []
    for sign in _SIGNS.findall(text):
        # A colon within an inner mapping counts too: OmegaConf builds the name of a resolver from parts.
        if sign == ":" and "${" in open_at:
            return True
        if sign in {"${", "{"}:
            open_at.append(sign)
        elif sign == "}" and open_at:
            open_at.pop()
    return False


def check_kind(kind: str, known: Sequence[str] = KINDS) -> None:
    """Check that there is a kind of configuration.

    Raises:
        ServiceError: There is none of that name.
    """
    if kind not in known:
        raise ServiceError(
            f"There is no kind of configuration '{kind[:80]}'.{did_you_mean(kind[:80], known)}",
            hint=f"Kinds: {', '.join(known)}.",
            code="NOT_FOUND",
        )


def _read(call: "Call", file: "Path") -> dict[str, Any]:
    """Return a file's content, with what its `defaults` name."""
    with reading(call.service.roots, file) as held:
        try:
            document = load_yaml(held)
        except YamlError as error:
            raise ServiceError(str(error), code="INVALID_ARGUMENT") from error
    data = document.data
    if not isinstance(data, dict):
        raise ServiceError(f"'{file.name}' holds no mapping.", code="INVALID_ARGUMENT")
    if "defaults" in data:
        from cuvis_ai_core.training.hydra_defaults import compose

        _stay_below(data["defaults"])
        without_resolvers(data)
        owners = list(call.session.node_registry.config_owners())
        within = [*call.service.roots.read, *owners]
        # Without `within`, a list of defaults could name YAML files outside of the roots.
        data = compose(file, document, [*call.session.search_paths, *owners], within=within)
    return {key: value for key, value in data.items() if key not in _NOT_CONTENT}


def _stay_below(defaults: object) -> None:
    """Refuse a list of defaults that leads out of the folders of configurations.

    Raises:
        ServiceError: It does.
    """
    for text in _texts(defaults):
        # Hydra's two providers that lead to other folders, and to packages.
        if ".." in text or text.lstrip("/").startswith(("file:", "pkg:")) or "${" in text:
            raise ServiceError(f"defaults: '{text[:80]}' leads out of the folder.", code="PERMISSION_DENIED")


def _texts(content: object) -> list[str]:
    """Return all texts in a configuration, keys included."""
    if isinstance(content, str):
        return [content]
    if isinstance(content, Mapping):
        return [text for pair in content.items() for each in pair for text in _texts(each)]
    return [text for each in content for text in _texts(each)] if isinstance(content, list) else []
