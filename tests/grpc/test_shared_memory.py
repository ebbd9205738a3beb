"""Cubes in shared memory: read without a copy, answered without one, never another cube than was sent."""

import gc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from cuvis_ai_core.errors import NodeRunError
from cuvis_ai_core.grpc import Client
from cuvis_ai_core.grpc.server.server import Server
from cuvis_ai_core.grpc.shared_memory.dev_shm_blocks import SERVER, is_available

pytestmark = pytest.mark.skipif(not is_available(), reason="this machine has no named shared memory")

NODES = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode, PortSpec

CUBE = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}


class Same(ArrayNode):
    INPUT_SPECS = OUTPUT_SPECS = CUBE

    def forward(self, cube):
        return {"cube": cube}


class Bands(Same):
    def forward(self, cube):
        return {"cube": cube[:, 1:]}


class Change(Same):
    last = 0.0

    def forward(self, cube):
        before, self.last = self.last, cube
        if cube[0, 0, 0, 0] < 0:
            raise ValueError("negative")
        return {"cube": cube - before}
"""
CUBE = np.random.default_rng(0).random((1, 60, 50, 61), dtype=np.float32)


@pytest.fixture
def client(server: Server, cache: Path, local_plugin: Callable[..., Path], tmp_path: Path) -> Iterator[Client]:
    """Return a client with the nodes loaded."""
    folder = local_plugin("lent", package="lent", node="Same")
    (folder / "src" / "lent" / "nodes.py").write_text(NODES)
    manifest = tmp_path / "plugins.yaml"
    provides = "[lent.nodes.Same, lent.nodes.Bands, lent.nodes.Change]"
    manifest.write_text(f"plugins:\n  lent: {{path: {folder}, provides: {provides}}}\n")
    with Client(server.address, shared_memory=True) as client:
        client.load_plugins(manifest)
        yield client


def load(client: Client, name: str) -> None:
    """Have one node for the pipeline."""
    client.load_pipeline({"nodes": [{"name": "n", "class_name": name}]})


def memories() -> int:
    """Return how much memory this process, which is client and server, has open that can be lent."""
    gc.collect()
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if "cuvis-ai-client" in str(each.readlink()):
                found.add(each.stat().st_ino)
    return len(found)


def test_a_node_that_keeps_what_it_was_given_keeps_it(client: Client) -> None:
    """The client writes its next cube elsewhere, and what was kept is given back in the end."""
    load(client, "Change")
    client.run(CUBE)
    for step in range(1, 12):
        np.testing.assert_array_equal(client.run(CUBE + step)["n.cube"], (CUBE + step) - (CUBE + (step - 1)))
    assert memories() <= 2


def test_what_a_failed_call_was_given_is_not_written_again(client: Client) -> None:
    """Nobody told whether somebody reads it still."""
    load(client, "Change")
    client.run(CUBE)
    with pytest.raises(NodeRunError):
        client.run(-CUBE - 1)
    np.testing.assert_array_equal(client.run(CUBE)["n.cube"], CUBE - (-CUBE - 1))
    assert memories() <= 2


@pytest.mark.parametrize("node", ["Same", "Bands"])
def test_what_lies_in_the_clients_memory_is_answered_there(
    client: Client, node: str, own_blocks: Callable[[], set[str]]
) -> None:
    """No block of the server is needed; a result that is held stays what it is, and memory is used again after it."""
    load(client, node)
    begin = 1 if node == "Bands" else 0
    held = [client.run(CUBE + step)["n.cube"] for step in range(3)]
    for step in range(3):
        np.testing.assert_array_equal(held[step], (CUBE + step)[:, begin:])
    assert not [name for name in own_blocks() if name.startswith(SERVER)]
    assert memories() == 3
    del held
    for _ in range(5):
        client.run(CUBE)
    assert memories() == 3


def test_an_array_of_the_client_is_sent_as_it_is(client: Client) -> None:
    """It may be filled again: results are what they were, also of a node that hands on what it is given."""
    load(client, "Same")
    cube = client.empty(CUBE.shape)
    results = []
    for step in range(3):
        np.add(CUBE, step, out=cube)
        results.append(client.run(cube)["n.cube"])
        assert memories() == 1
    for step in range(3):
        np.testing.assert_array_equal(results[step], CUBE + step)
    np.testing.assert_array_equal(client.run(cube[:, ::2])["n.cube"], cube[:, ::2])
    np.testing.assert_array_equal(client.run(cube[:, 2:])["n.cube"], cube[:, 2:])
    assert client.empty((1, 1, 1, 1), ">f8").dtype == ">f8"
    swapped = client.empty(CUBE.shape, ">f4")
    swapped[:] = CUBE
    np.testing.assert_array_equal(client.run(swapped)["n.cube"], CUBE)
    del cube, swapped
    assert client.empty(CUBE.shape).shape == CUBE.shape
    assert memories() <= 4


def test_without_shared_memory_an_array_is_an_array(server: Server, cache: Path) -> None:
    """The same program runs with a server elsewhere."""
    with Client(server.address, shared_memory=False) as client:
        assert client.empty((2, 3), np.uint16).shape == (2, 3)
