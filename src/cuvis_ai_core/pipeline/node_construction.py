"""From the lines of a pipeline file to node objects, with the parameters that their plugins give them."""

import copy
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, cast

from cuvis_ai_core._error_location import place_of, words_of
from cuvis_ai_core._nearest import nearest
from cuvis_ai_core.errors import (
    AmbiguousNodeError,
    CuvisError,
    InvalidNodeError,
    NodeNotFoundError,
    PipelineError,
    RemoteError,
)
from cuvis_ai_core.node.base import is_node_class
from cuvis_ai_core.node.class_checks import check_class, construct
from cuvis_ai_core.node.constructor_keywords import is_open, parameters_of, unread_of
from cuvis_ai_core.pipeline.file.config_models import NodeConfig, PipelineConfig

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.configs_folder import Defaults

logger = logging.getLogger(__name__)


class NodeSource(Protocol):
    """Where node classes come from: a `NodeRegistry`."""

    def get(self, name: str, /) -> type:
        """Return the class of that name."""
        ...


def make_nodes(
    config: PipelineConfig,
    registry: NodeSource,
    build: Callable[[PipelineConfig, NodeSource], dict[str, Any]],
) -> tuple[PipelineConfig, dict[str, Any]]:
    """Return a pipeline with the parameters that plugins give to their nodes, and these nodes.

    Args:
        config: The content of the file.
        registry: Where classes come from.
        build: Makes the nodes: `build_nodes`, or what makes an outline of them.

    Raises:
        PipelineError: The file of a plugin is broken; or as `build`.
    """
    defaults = _Defaults(registry)
    complete = defaults.complete(config)
    try:
        return complete, build(complete, registry)
    except PipelineError as error:
        defaults.explain(error, config)
        raise


def build_nodes(
    config: PipelineConfig, registry: NodeSource, absent: dict[str, CuvisError] | None = None
) -> dict[str, Any]:
    """Return the nodes of a pipeline by name, in the order of the file.

    Args:
        config: The content of the file.
        registry: Where classes come from.
        absent: Gets the nodes whose class is not there, or cannot be imported, with the reason; they are left out.
            Without it they are errors.

    Raises:
        NodeNotFoundError: The registry has no such class.
        AmbiguousNodeError: Several plugins provide a class of that name.
        PipelineError: A name occurs twice, a class is no node, or its constructor refuses the parameters.
    """
    nodes: dict[str, Any] = {}
    for entry in config.nodes:
        if entry.name in nodes or entry.name in (absent or ()):
            raise PipelineError(
                f"Two nodes are named '{entry.name}'; every node of a pipeline has a name of its own.",
                hint=f"Rename one of them, for example '{entry.name}-1'.",
                node=entry.name,
            )
        try:
            node_class = _find_class(entry, config.plugins, registry)
        except (NodeNotFoundError, InvalidNodeError) as error:
            # With a cause its import failed, which an outline may do without; without one the file names something
            # else.
            if absent is None or (isinstance(error, InvalidNodeError) and error.__cause__ is None):
                raise
            absent[entry.name] = error
        else:
            nodes[entry.name] = _construct(entry, node_class)
    return nodes


def _find_class(entry: NodeConfig, plugins: list[str], registry: NodeSource) -> type:
    try:
        node_class = registry.get(entry.class_name)
    except (NodeNotFoundError, AmbiguousNodeError) as error:
        # The registry's words are documented and stay first; the reader also needs the place in the pipeline.
        error.message += f"\nNode '{entry.name}' of the pipeline asks for it."
        if plugins:
            error.message += f" The pipeline names the plugins it needs: {', '.join(plugins)}."
        raise
    if not is_node_class(node_class):
        raise PipelineError(
            f"Node '{entry.name}': {entry.class_name} is no node class; a node class has INPUT_SPECS, "
            "OUTPUT_SPECS and forward.",
            node=entry.name,
        )
    return node_class


def _construct(entry: NodeConfig, node_class: type) -> object:
    signature, accepted = inspect.signature(node_class), parameters_of(node_class)
    unknown = [key for key in entry.params if key not in accepted]
    if "name" in entry.params:
        raise _refusal(entry, accepted, "takes its name from the key 'name' beside 'params', not from within it.")
    if unknown and not is_open(signature):
        raise _refusal(entry, accepted, _no_parameter(unknown[0], accepted))
    # A constructor that changes its list would change what is saved.
    arguments = copy.deepcopy(entry.params)
    # Published classes take the name through `**kwargs`.
    if is_open(signature) or "name" in accepted:
        arguments["name"] = entry.name
    try:
        check_class(node_class)
        # Bound before it is called: a TypeError from within a constructor is the author's, one from here the file's.
        signature.bind(**arguments)
    except (InvalidNodeError, TypeError) as error:
        raise _failure(entry, accepted, error, getattr(error, "place", None)) from error
    try:
        node: object = construct(node_class, **arguments)
    # A constructor that calls `sys.exit` must not end who loads a file.
    except (Exception, SystemExit) as error:
        raise _failure(entry, accepted, error, place_of(error, node_class)) from error
    if unread := unread_of(node):
        known = [*accepted, *(key for key in getattr(node, "hparams", ()) if key not in unread)]
        _refuse_slips(entry, accepted, unread, known)
    return node


def _refuse_slips(
    entry: NodeConfig, accepted: Mapping[str, inspect.Parameter], unread: Iterable[str], known: list[str]
) -> None:
    """Refuse a keyword that nobody read; in files of the published spelling there are such, and they stay.

    Raises:
        PipelineError: It is.
    """
    for key in unread:
        if entry.is_published and nearest(key, known) is None:
            entry.keep_unread()
            logger.warning(
                "node '%s' (%s) is given '%s', which it hands on and reads nowhere", entry.name, entry.class_name, key
            )
            continue
        refusal = _refusal(entry, accepted, _no_parameter(key, known))
        asked = f"Its constructor takes any keyword (**), and was asked: it hands '{key}' on, and reads it nowhere."
        refusal.hint = f"{refusal.hint}\n{asked}"
        raise refusal


def _failure(
    entry: NodeConfig, accepted: Mapping[str, inspect.Parameter], error: BaseException, place: str | None
) -> PipelineError:
    says_enough = isinstance(error, CuvisError | TypeError | ValueError)  # a KeyError, say, has only the key for a text
    text = str(getattr(error, "message", error) if says_enough else words_of(error)).rstrip(".") or type(error).__name__
    shown = f" ({place})" if place and place not in text else ""
    refusal = _refusal(entry, accepted, f"cannot be built: {text}{shown}.")
    if isinstance(error, CuvisError) and not isinstance(error, RemoteError):  # the hint of that is a traceback
        refusal.hint = error.hint or refusal.hint
    refusal.place = place
    return refusal


def _no_parameter(key: str, accepted: Iterable[str]) -> str:
    near = nearest(key, accepted)
    return f"has no parameter '{key}'" + (f"; did you mean '{near}'?" if near else ".")


def _refusal(entry: NodeConfig, accepted: Mapping[str, inspect.Parameter], problem: str) -> PipelineError:
    shown = [
        name if parameter.default is parameter.empty else f"{name}={parameter.default!r}"
        for name, parameter in accepted.items()
        if name != "name"
    ]
    return PipelineError(
        f"Node '{entry.name}' ({entry.class_name}) {problem}",
        hint=f"Parameters of {entry.class_name}: {', '.join(shown) or 'none'}.",
        node=entry.name,
    )


class _Defaults:
    """What the plugins of a registry give to nodes.

    Args:
        registry: Where node classes come from.
    """

    def __init__(self, registry: NodeSource) -> None:
        find = getattr(registry, "node_defaults", lambda _: None)  # what only gives classes has none
        # A pipeline may have a thousand nodes of one class, and each look reads files.
        self._look_up = cache(cast("Callable[[str], Defaults | None]", find))

    def complete(self, config: PipelineConfig) -> PipelineConfig:
        """Return a pipeline in which each node has the parameters that it was given, under those that it has.

        Raises:
            PipelineError: The file of a plugin is broken.
        """
        nodes = []
        for entry in config.nodes:
            given = self._of(entry.class_name)
            nodes.append(entry.model_copy(update={"params": {**given.params, **entry.params}}) if given else entry)
        return config.model_copy(update={"nodes": nodes})

    def explain(self, error: PipelineError, config: PipelineConfig) -> None:
        """Add to the error of a node which of its parameters come from where.

        Args:
            error: What went wrong when it was constructed.
            config: The pipeline as it was written.
        """
        for entry in config.nodes:
            given = self._of(entry.class_name) if entry.name == error.node else None
            if given is not None and (keys := [key for key in given.params if key not in entry.params]):
                lines = "".join(f"\n{given.file}, line {given.lines[key]}: '{key}'" for key in keys)
                error.message += f"\nIts plugin gives it:{lines}"

    def _of(self, class_name: str) -> "Defaults | None":
        with suppress(AmbiguousNodeError):  # whoever builds the node says so
            return self._look_up(class_name)
        return None
