"""Classes that look like the node classes of a plugin in a worker, made from what `describe_nodes` told."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final

from cuvis_ai_core.plugins.worker import METHODS
from cuvis_ai_core.plugins.worker.proxy import ProxyNode
from cuvis_ai_core.plugins.worker.value_encoding import schema_class
from cuvis_ai_core.plugins.worker.worker_process import Worker

Face = Mapping[str, Any]

_CONTAINERS: Final[Mapping[str, Callable[[Any], Any]]] = {"tuple": tuple, "set": set, "frozenset": frozenset}


class _Shown:
    """Stands for a default value or an annotation that cannot cross; it is there to be read."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def make_class(path: str, face: Face, worker: Worker) -> type[ProxyNode]:
    """Return a class that stands for a node class.

    Args:
        path: The path under which its plugin declares it.
        face: What it looks like.
        worker: The worker that has it.
    """
    namespace: dict[str, Any] = {name: _value(each) for name, each in face["metadata"].items()}
    namespace |= {name: _method(name) for name in METHODS if name in face["methods"]}
    namespace |= {
        "__module__": face["module"],
        "__qualname__": face["qualname"],
        "__doc__": face["doc"],
        "__signature__": _signature(face["signature"]),
        "INPUT_SPECS": {name: _spec(each) for name, each in face["inputs"].items()},
        "OUTPUT_SPECS": {name: _spec(each) for name, each in face["outputs"].items()},
        "forward": _forward(face),
        "runs_elsewhere": worker,
        "_path": path,
        "_declared_parameters": {each["name"]: _parameter(each) for each in face["parameters"]},
        "_methods": frozenset(face["methods"]),
    }
    # Of `type`, with no metaclass and no base of the plugin's: those exist in the worker alone.
    return type(face["name"], (ProxyNode,), namespace)


def _forward(face: Face) -> Callable[..., Any]:
    def forward(self: ProxyNode, *args: Any, **inputs: Any) -> Any:
        return ProxyNode.forward(self, *args, **inputs)

    signature = _signature(face["forward"])
    parameters = list(signature.parameters.values())
    takes_any = bool(parameters) and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
    if face["torch"] and takes_any and "context" not in signature.parameters:
        # A pipeline gives it to torch nodes that take any keyword.
        parameters.insert(-1, inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, default=None))
    forward.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    forward.__doc__ = face["forward_doc"]
    return forward


def _method(name: str) -> Callable[..., Any]:
    def method(self: ProxyNode, *args: Any, **kwargs: Any) -> Any:
        return self._call(name, args, kwargs)

    method.__name__ = name
    method.__doc__ = f"Do `{name}` of the node in the worker."
    return method


def _signature(told: list[Mapping[str, Any]]) -> inspect.Signature:
    return inspect.Signature([_parameter(each) for each in told])


def _parameter(told: Mapping[str, Any]) -> inspect.Parameter:
    empty = inspect.Parameter.empty
    return inspect.Parameter(
        told["name"],
        getattr(inspect.Parameter, told["kind"]),
        default=_value(told["default"]) if "default" in told else empty,
        annotation=_value(told["annotation"]) if "annotation" in told else empty,
    )


def _value(told: Any) -> Any:
    """Return what `describe_nodes` wrote as data."""
    if isinstance(told, list):
        return [_value(each) for each in told]
    if not isinstance(told, dict):
        return told
    kind, of = told["kind"], told["of"]
    if kind == "dict":
        return {key: _value(each) for key, each in of.items()}
    if kind == "enum":
        return _member(told["class"], of)
    return _CONTAINERS[kind](map(_value, of)) if kind in _CONTAINERS else _Shown(str(of))


def _member(name: str, value: Any) -> Any:
    try:
        return schema_class(name)(value)
    except (TypeError, ValueError):  # the worker's schemas know more
        return value


def _spec(told: Mapping[str, Any]) -> Any:
    from cuvis_ai_schemas.pipeline import PortSpec

    given = {
        "dtype": _dtype(told["dtype"], told["declared"]),
        "shape": tuple(told["shape"]),
        "description": told["description"],
    }
    given |= {"optional": told["optional"], "variadic": told["variadic"]}
    if told["form"] == "mapping":
        return given
    # Which fields a port has differs among the schemas that are supported.
    known = {each.name for each in fields(PortSpec)}
    spec = PortSpec(**{key: value for key, value in given.items() if key in known})
    return [spec] if told["form"] == "list" else spec


def _dtype(text: str, declared: list[str]) -> Any:
    """Return a dtype as it was declared; torch is not imported for that, so that its dtypes may stay texts."""
    if len(declared) != 2 or not declared[0]:  # noqa: PLR2004
        return declared[-1] if declared else text
    library, name = declared
    if library == "numpy":
        importlib.import_module(library)
        name = "bool_" if name == "bool" else name  # which NumPy 1 warns of
    found = getattr(sys.modules.get(library), name, None) if library in {"builtins", "numpy", "torch"} else None
    return found if isinstance(found, type) or type(found).__name__ == "dtype" else text
