"""The messages of all generations."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cuvis_ai_core.grpc.messages.schema_generations import SERVICE, enum_value, messages, wire

ROOT = Path(__file__).resolve().parents[2]


def test_the_descriptors_are_those_of_the_proto_file() -> None:
    """`additions.binpb` is what protoc makes of `additions.proto`."""
    command = [sys.executable, str(ROOT / "tools" / "protocol.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0


def test_all_thirty_methods_of_all_generations_are_there() -> None:
    """LoadPlugins stands beside LoadPlugin, ClearPluginCache beside StopTrain."""
    assert {"LoadPlugins", "LoadPlugin", "ClearPluginCache", "StopTrain", "SetProfiling"} <= wire().methods.keys()
    assert len(wire().methods) == 30


def test_fields_of_the_newest_generation_are_there_whatever_is_installed() -> None:
    """A tensor has a shared-memory reference, a training event a hook, a status CANCELLED."""
    assert messages().Tensor.DESCRIPTOR.fields_by_name["shm_ref"].number == 4
    assert messages().TrainResponse.DESCRIPTOR.fields_by_name["event"].number == 6
    assert enum_value("TrainStatus", "TRAIN_STATUS_CANCELLED") == 4


def test_events_of_the_newest_generation_are_there_whatever_is_installed() -> None:
    """A training tells of a validation where older schemas have no number for that, and lacks none of newer ones."""
    pb2 = pytest.importorskip("cuvis_ai_schemas.grpc.v1.cuvis_ai_pb2")
    descriptors = pytest.importorskip("google.protobuf.descriptor_pb2")
    file = ROOT / "src" / "cuvis_ai_core" / "grpc" / "messages" / "additions.binpb"
    (ours,) = descriptors.FileDescriptorSet.FromString(file.read_bytes()).file
    known = next(
        {(each.name, each.number) for each in enum.value} for enum in ours.enum_type if enum.name == "TrainHook"
    )
    theirs = pb2.DESCRIPTOR.enum_types_by_name.get("TrainHook")
    assert theirs is None or {(each.name, each.number) for each in theirs.values} <= known
    assert enum_value("TrainHook", "TRAIN_HOOK_VALIDATION_START") == 18
    assert enum_value("TrainHook", "TRAIN_HOOK_VALIDATION_PROGRESS") == 19


def test_older_schemas_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever they lack of the additions is laid over them; what they have stays, and so does the installed one."""
    pb2 = pytest.importorskip("cuvis_ai_schemas.grpc.v1.cuvis_ai_pb2")
    descriptors = pytest.importorskip("google.protobuf.descriptor_pb2")
    file = ROOT / "src" / "cuvis_ai_core" / "grpc" / "messages" / "additions.binpb"
    (ours,) = descriptors.FileDescriptorSet.FromString(file.read_bytes()).file
    older = descriptors.FileDescriptorProto()
    pb2.DESCRIPTOR.CopyToProto(older)
    for kind, part in (("message_type", "field"), ("enum_type", "value"), ("service", "method")):
        added = {each.name: {other.name for other in getattr(each, part)} for each in getattr(ours, kind)}
        kinds = list(getattr(older, kind))
        del getattr(older, kind)[:]
        for each in kinds:
            kept = [other for other in getattr(each, part) if other.name not in added.get(each.name, ())]
            # Enums need a value for zero, and what nothing is left of was not there.
            first = [other for other in getattr(each, part) if getattr(other, "number", 1) == 0 and other not in kept]
            if kept or not added.get(each.name):
                del getattr(each, part)[:]
                getattr(each, part).extend([*first, *kept])
                getattr(older, kind).add().CopyFrom(each)
    assert older.ByteSize() < len(pb2.DESCRIPTOR.serialized_pb)
    whole = wire()  # of what is installed
    monkeypatch.setattr(pb2, "DESCRIPTOR", SimpleNamespace(CopyToProto=lambda into: into.CopyFrom(older)))
    found = wire.__wrapped__()
    assert vars(found.messages).keys() == vars(whole.messages).keys()
    for name in vars(whole.messages):
        fields = [
            {each.number: (each.name, each.type) for each in kind.DESCRIPTOR.fields}
            for kind in (getattr(found.messages, name), getattr(whole.messages, name))
        ]
        assert fields[0] == fields[1], name
    enums = [
        {name: dict(each.values_by_name.items()).keys() for name, each in pool.enum_types_by_name.items()}
        for pool in (one.pool.FindFileContainingSymbol(SERVICE) for one in (found, whole))
    ]
    assert enums[0] == enums[1]
    methods = [{(each.name, each.streams) for each in one.methods.values()} for one in (found, whole)]
    assert methods[0] == methods[1]


def test_importing_the_registry_or_the_room_imports_no_grpc() -> None:
    """Nothing of grpc is imported by those who do not use it, nor by the help of its command."""
    code = (
        "import sys; import cuvis_ai_core, cuvis_ai_core.registry, cuvis_ai_core.grpc; "
        "import cuvis_ai_core.grpc.server.serve_command; "
        "print([name for name in ('grpc', 'google.protobuf', 'torch', 'numpy') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert answer.stdout.strip() == "[]"


def test_without_the_extra_the_error_names_it() -> None:
    """A server without grpc installed says what to install."""
    code = (
        "import sys; sys.modules['grpc'] = None\n"
        "from cuvis_ai_core.grpc import Server\n"
        "from cuvis_ai_core.errors import MissingExtraError\n"
        "try: Server()\n"
        "except MissingExtraError as error: print(error.extra, error)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("grpc ")
    assert "cuvis-ai-core[grpc]" in answer.stdout
