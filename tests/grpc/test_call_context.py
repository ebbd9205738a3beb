"""What calls have at hand: limits of pipelines and trainings, and the generation that a client speaks."""

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.server.call_context import Call, Service
from cuvis_ai_core.grpc.server.open_sessions import Session
from cuvis_ai_core.grpc.server.settings import Settings


@pytest.mark.parametrize(("workers", "trainings"), [(2, 1), (5, 2), (8, 4)])
def test_half_of_the_places_are_for_trainings(workers: int, trainings: int) -> None:
    """One more is refused at once, until one has ended."""
    service = Service(Settings(workers=workers))
    with ExitStack() as running:
        for _ in range(trainings):
            running.enter_context(service.training())
        with pytest.raises(ServiceError) as caught:
            running.enter_context(service.training())
        assert caught.value.code == "RESOURCE_EXHAUSTED"
    with service.training():
        pass


@pytest.mark.parametrize(("key", "most"), [("nodes", 1000), ("edges", 5000)])
def test_a_pipeline_has_only_so_many_parts(key: str, most: int) -> None:
    """Building one takes time that nothing stops."""
    service = Service(Settings())
    with NodeRegistry(discover=False) as registry:
        service.check_nodes(registry, {key: [{}] * most})
        with pytest.raises(ServiceError, match="up to 1000 nodes and 5000 edges") as caught:
            service.check_nodes(registry, {key: [{}] * (most + 1)})
    assert caught.value.code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(
    ("told", "shown", "found"),
    [
        (None, None, (0, 9)),
        (None, (0, 6), (0, 6)),
        ("0.2", (0, 6), (0, 2)),
        ("0.4.1", None, (0, 4)),
        ("9999.12", None, (9999, 12)),
        *((text, None, None) for text in ("1", "1.2.3.4", "a.b", "1.", "-1.2", "10000.1", "1.10000")),
    ],
)
def test_the_generation_that_a_client_speaks(
    told: str | None, shown: tuple[int, int] | None, found: tuple[int, int] | None
) -> None:
    """What it tells counts before what its calls have shown, and that before what the server is set to."""
    with NodeRegistry(discover=False) as registry:
        session = Session(registry=lambda: registry)
    session.generation = shown
    metadata = [("other", "0.1"), *([("cuvis-schemas", told)] if told is not None else [])]
    context: Any = SimpleNamespace(invocation_metadata=lambda: metadata)
    call = Call(Service(Settings(generation=(0, 9))), None, context, session)
    if found is not None:
        assert call.generation == found
    else:
        with pytest.raises(ServiceError, match="is no version of the schemas"):
            _ = call.generation


def test_a_call_of_no_session_has_none() -> None:
    """Nor any generation but that of the server."""
    call = Call(Service(Settings(generation=(0, 9))), None, SimpleNamespace(invocation_metadata=lambda: None))
    assert call.generation == (0, 9)
    with pytest.raises(ServiceError) as caught:
        _ = call.session
    assert caught.value.code == "NOT_FOUND"


def test_the_folders_of_a_server(tmp_path: Path) -> None:
    """One for this machine reads and writes where it runs; one for others what it is told to."""
    given: dict[str, Any] = {
        "working_directory": tmp_path / "here",
        "configs_dir": tmp_path / "configs",
        "roots": (tmp_path / "data",),
    }
    here, configs, data, out = (tmp_path / name for name in ("here", "configs", "data", "out"))
    near, far = Settings(**given), Settings(host="10.0.0.1", **given)
    assert near.read_roots() == [here, configs, data]
    assert near.writable_roots() == [here, configs]
    assert far.read_roots() == [configs, data]
    assert far.writable_roots() == []
    for host, read in (("::1", [here, configs, data, out]), ("10.0.0.1", [configs, data, out])):
        told = Settings(host=host, write_roots=(out,), **given)
        assert told.read_roots() == read
        assert told.writable_roots() == [out]
