"""What nodes know, handed from one process to another by a file."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from cuvis_ai_core import Pipeline
from cuvis_ai_core.errors import TrainingError
from cuvis_ai_core.grpc.server.node_state_file import State, give_state, refuse_changed, sources_of, write_state
from cuvis_ai_core.node import ArrayNode


class Keeper(ArrayNode):
    """Keeps what it is told."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {}
    STATE: ClassVar[tuple[str, ...]] = ("kept",)

    kept: Any = None

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class Odd(Keeper):
    """Keeps what no file but one of torch has."""

    def state_dict(self) -> dict[str, Any]:
        """Return a text."""
        return {"kept": "a word"}

    def load_state_dict(self, state: Any) -> None:
        """Take it."""
        self.kept = state["kept"]


class Forgetful(Keeper):
    """Has to learn, and keeps nothing of it."""

    requires_initial_fit = True


def _pipeline(node: Any) -> Pipeline:
    return Pipeline("p").add(node)


@pytest.mark.parametrize("learned", [True, False])
def test_what_a_node_knows_comes_to_the_same_node_elsewhere(tmp_path: Path, *, learned: bool) -> None:
    """Its arrays, by a file that needs no torch, and whether it has learned."""
    node, other = Keeper("n"), Keeper("n")
    node.kept, node.statistically_initialized = np.arange(3.0), learned
    other.statistically_initialized = not learned
    state = write_state(_pipeline(node), tmp_path / "state")
    assert state == State(str(tmp_path / "state.safetensors"), {"n": learned})
    give_state(_pipeline(other), state)
    assert other.kept.tolist() == [0, 1, 2]
    assert other.statistically_initialized is learned


def test_what_only_a_file_of_torch_has(tmp_path: Path) -> None:
    """Is written to one."""
    pytest.importorskip("torch")
    state = write_state(_pipeline(Odd("n")), tmp_path / "state")
    assert state.file == str(tmp_path / "state.pt")
    give_state(_pipeline(other := Odd("n")), state)
    assert other.kept == "a word"


def test_where_nobody_keeps_anything_there_is_no_file(tmp_path: Path) -> None:
    """Who has learned is told all the same."""
    state = write_state(_pipeline(Keeper("n")), tmp_path / "state")
    assert (state.file, list(tmp_path.iterdir())) == (None, [])
    give_state(_pipeline(Keeper("n")), state)


def test_what_was_learned_and_not_kept_is_an_error(tmp_path: Path) -> None:
    """Before it gets lost."""
    node = Forgetful("n")
    write_state(_pipeline(node), tmp_path / "state")
    node.statistically_initialized = True
    with pytest.raises(TrainingError, match=r"Node 'n' \(Forgetful\) has learned, and its state_dict\(\) is empty"):
        write_state(_pipeline(node), tmp_path / "state")


def test_what_does_not_fit_is_an_error(tmp_path: Path) -> None:
    """It names the node."""
    node = Keeper("n")
    node.kept = np.ones(2)
    state = write_state(_pipeline(node), tmp_path / "state")
    with pytest.raises(TrainingError, match="The state of node 'n' does not fit the same node"):
        give_state(_pipeline(Keeper("other")), State(state.file))


def test_code_that_changes_is_not_run_in_another_process() -> None:
    """A new process would run the new code."""
    pipeline = _pipeline(Keeper("n"))
    known = sources_of(pipeline)
    assert known["n"][0] == __file__
    refuse_changed(pipeline, known)
    file, size, time = known["n"]
    for changed in ((file, size + 1, time), (file, size, time + 1)):
        with pytest.raises(TrainingError, match=r"The code of node 'n' .* has changed since its pipeline was built"):
            refuse_changed(pipeline, {"n": changed})
