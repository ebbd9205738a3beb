"""The messages of all generations of `cuvis_ai.v1`, in a pool of their own.

They are those of the installed cuvis-ai-schemas, whatever its version, with what other generations have beside them
(`additions.proto`). One set of classes reads and writes them all, since no two generations give one field number of a
message two meanings, but for the ports of a node (`NodeInfoWithLists`). The pool is ours: a client in this process may
use the classes of the schemas beside these.
"""

from functools import cache
from importlib.resources import files
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.missing_extra import explain_missing

PACKAGE: Final = "cuvis_ai.v1"
SERVICE: Final = f"{PACKAGE}.CuvisAIService"


class Method(NamedTuple):
    """A method of the service.

    Attributes:
        name: Its name.
        request: The class of its request.
        response: The class of its response.
        streams: Whether it answers a stream of them.
    """

    name: str
    request: Any
    response: Any
    streams: bool


class Wire(NamedTuple):
    """All messages and methods.

    Attributes:
        messages: The classes, as attributes.
        methods: The methods of the service, by name.
        pool: Where their descriptors are.
    """

    messages: Any
    methods: dict[str, Method]
    pool: Any


@cache
def wire() -> Wire:
    """Return the messages and methods, made once for the process: classes made in several threads crash protobuf.

    Raises:
        MissingExtraError: The extra `grpc` is not installed.
    """
    with explain_missing():
        from cuvis_ai_schemas.grpc.v1 import cuvis_ai_pb2
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto()
    cuvis_ai_pb2.DESCRIPTOR.CopyToProto(file)
    additions = descriptor_pb2.FileDescriptorSet.FromString(
        files("cuvis_ai_core.grpc.messages").joinpath("additions.binpb").read_bytes()
    )
    _add(file, additions.file[0])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = message_factory.GetMessageClassesForFiles([file.name], pool)
    own = {name.removeprefix(f"{PACKAGE}."): each for name, each in classes.items()}
    service = pool.FindServiceByName(SERVICE)
    methods = {
        each.name: Method(each.name, own[each.input_type.name], own[each.output_type.name], each.server_streaming)
        for each in service.methods
    }
    return Wire(SimpleNamespace(**{name: each for name, each in own.items() if "." not in name}), methods, pool)


def messages() -> Any:
    """Return the classes of all messages, as attributes."""
    return wire().messages


def enum_value(enum: str, name: str) -> int:
    """Return the number of a value of an enum: `enum_value("DType", "D_TYPE_BOOL")`."""
    number: int = wire().pool.FindEnumTypeByName(f"{PACKAGE}.{enum}").values_by_name[name].number
    return number


def parse_generation(text: str) -> tuple[int, int]:
    """Return a version of the schemas, `0.2` or `0.4.1`, as major and minor number.

    Raises:
        ServiceError: It is none.
    """
    parts = text.split(".")
    # With a bound: Python takes quadratic time for digits, and refuses more than 4,300 by another error.
    if not 2 <= len(parts) <= 3 or not all(part.isdecimal() and len(part) < 5 for part in parts):  # noqa: PLR2004
        raise ServiceError(f"'{text[:40]}' is no version of the schemas, such as 0.14.", code="INVALID_ARGUMENT")
    return int(parts[0]), int(parts[1])


def _add(file: Any, other: Any) -> None:
    """Lay partial messages, enums and services over those of a file."""
    for kind, part in (("message_type", "field"), ("enum_type", "value"), ("service", "method")):
        known = {each.name: each for each in getattr(file, kind)}
        for each in getattr(other, kind):
            if each.name in known:
                _complete(known[each.name], each, part)
            else:
                getattr(file, kind).add().CopyFrom(each)


def _complete(known: Any, other: Any, part: str) -> None:
    """Add to a message its missing fields, to an enum its missing values, to a service its missing methods."""
    key = "name" if part == "method" else "number"
    there = {getattr(each, key) for each in getattr(known, part)}
    for each in getattr(other, part):
        if getattr(each, key) not in there:
            getattr(known, part).add().CopyFrom(each)
