"""What clients are told to do, they can do: fields and calls, not options of a command line."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import cuvis_ai_core
from cuvis_ai_core.cli.main import main
from cuvis_ai_core.cli.restore import restore_pipeline, restore_trainrun
from cuvis_ai_core.errors import PipelineError, ServiceError
from cuvis_ai_core.grpc.server.hints_for_clients import for_clients
from cuvis_ai_core.grpc.server.status_codes import plain_words

SOURCE = Path(cuvis_ai_core.__file__).parent
ROOMS = ("builtin", "data", "node", "pipeline", "plugins", "registry", "results", "training")
HERE = {f"data/downloads/{name}.py" for name in ("fetched_datasets", "fetched_weights", "carried_weights")}
"""What commands alone do, whose words no client sees."""

OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def options(command: click.Command) -> Iterator[str]:
    """Yield the names of all options of a command and of those below it."""
    yield from (name for each in command.params for name in (*each.opts, *each.secondary_opts))
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            yield from options(found) if found is not None else ()


def texts() -> Iterator[tuple[str, str]]:
    """Yield the sentences of the rooms below the service that name an option, each with its file."""
    files = [file for room in ROOMS for file in SOURCE.glob(f"{room}/**/*.py")] + [
        SOURCE / "cli/restore/interrupted_training.py"
    ]
    for file in files:
        if (name := file.relative_to(SOURCE).as_posix()) in HERE:
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        inner = {id(part) for each in ast.walk(tree) if isinstance(each, ast.JoinedStr) for part in each.values}
        for each in ast.walk(tree):
            text = ""
            if isinstance(each, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "VALUE" for part in each.values)
            elif isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in inner:
                text = each.value
            if OPTION.search(text) and " " in text.strip():
                yield name, text


@pytest.mark.slow
def test_no_hint_of_the_rooms_below_names_an_option_of_ours_to_clients() -> None:
    """Whichever error it is: options of `cuvis-ai` become fields or calls, or are left out."""
    commands = (main, restore_pipeline.main, restore_trainrun.main)
    ours = {name for each in commands for name in options(each) if name.startswith("--")}
    found = [each for each in texts() if ours.intersection(OPTION.findall(each[1]))]
    assert len(found) > 10
    for place, text in found:
        told = for_clients(text) or ""
        named = ours.intersection(OPTION.findall(told))
        foreign = re.search(r"(?<![\w-])(uv|git|gpg|pip) ", told)
        assert not named or foreign, (place, told)


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (
            "Load: Pipeline.load(..., weights='p.pt'), or --weights-path p.pt. To run it: --allow-untrained. Go.",
            "Load: LoadPipelineWeights, by weights_path or weights_bytes. Go.",
        ),
        ("Choose another directory: --override output_dir=...", "Choose another directory: output_dir in the trainrun"),
        ("Or choose: --output-dir FOLDER", ""),
        ("Try it: uv pip install --no-deps --target X .", "Try it: uv pip install --no-deps --target X ."),
        ("Have 'a -- b'.", "Have 'a -- b'."),
    ],
)
def test_hints_say_fields_and_calls(hint: str, told: str) -> None:
    """What has no counterpart is left out; command lines of other programs, for who runs the server, stay."""
    words = plain_words(PipelineError("It failed.", hint=hint))
    assert words == f"It failed.\n{told}".strip()


def test_what_the_service_says_of_its_own_start_stays() -> None:
    """Whoever runs the server types options."""
    assert "--root" in plain_words(ServiceError("No.", hint="Allow it with --root.", code="PERMISSION_DENIED"))


def test_a_pipeline_that_waits_for_weights_names_the_call_for_them(
    stub: Any, learner: str, refused: Callable[..., Any]
) -> None:
    """By gRPC, where there is no command line."""
    content = {"nodes": [{"name": "centre", "class_name": "Centre"}]}
    stub.LoadPipeline(session_id=learner, pipeline=stub.m.PipelineConfig(config_bytes=json.dumps(content).encode()))
    cube = stub.m.Tensor(shape=[1, 2, 3, 4], dtype=1, raw_data=bytes(96))
    error = refused("INVALID_ARGUMENT", stub.Inference, session_id=learner, inputs=stub.m.InputBatch(cube=cube))
    assert "LoadPipelineWeights" in error.details()
    assert "--" not in error.details()
