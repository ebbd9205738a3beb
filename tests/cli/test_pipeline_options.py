"""Which options of `restore-pipeline` go together: what is given in vain is said, before anything is read."""

from collections.abc import Callable

import pytest
from click.testing import Result

Shell = Callable[..., Result]

SINGLE = {
    "--profile": (),
    "--profile-sync": (),
    "--measurement-indices": ("0,1",),
    "--annotation-json-path": ("a.json",),
}
RUN = SINGLE | {
    "--output-dir": ("out",),
    "--measurement": ("0",),
    "--processing-mode": ("Raw",),
    "--memory": ("1GB",),
    "--format": ("zarr",),
}
NODES = {"--allow-untrained": (), "--keep": ("a.x",)}
MANY = {
    "--workers": ("2",),
    "--engine": ("local",),
    "--ray-address": ("auto",),
    "--bundle": ("b.tar.gz",),
    "--timeout": ("3",),
    "--max-failures": ("1",),
    "--retry-failed": (),
    "--shard": ("0/2",),
    "--metrics-file": ("m.prom",),
    "--json": (),
}
OF_MANY_ALONE = ("--ray-address", "--bundle", "--metrics-file", "--json")


def said(shell: Shell, *arguments: str) -> str:
    """Return what is said of wrong usage, in one line."""
    found = shell("restore-pipeline", "--pipeline-path", "p.yaml", *arguments)
    assert found.exit_code == 2, found.output
    return " ".join(found.stderr.replace("│", " ").split())


@pytest.mark.parametrize("option", [*RUN, *NODES, *MANY])
def test_what_is_of_a_run_goes_with_a_cube(shell: Shell, option: str) -> None:
    """Without one nothing is run."""
    values = (RUN | NODES | MANY)[option]
    assert f"{option} goes with --cube-path: without a cube nothing is run." in said(shell, option, *values)


@pytest.mark.parametrize("option", [*RUN, *MANY])
def test_what_is_of_files_does_not_go_with_a_data_module(shell: Shell, option: str) -> None:
    """It names none."""
    text = said(shell, "--data-module", "Any", option, *(RUN | MANY)[option])
    assert f"{option} goes with --cube-path: a data module names no file." in text


@pytest.mark.parametrize("option", OF_MANY_ALONE)
def test_what_is_of_many_cubes_does_not_go_with_one(shell: Shell, option: str) -> None:
    """It would change nothing."""
    text = said(shell, "--cube-path", "c.npy", option, *MANY[option])
    assert f"{option} goes with many cubes: a pattern in quotes, or --workers." in text


@pytest.mark.parametrize("option", [*SINGLE, "--pipeline-vis-ext"])
@pytest.mark.parametrize("many", [("*.npy",), ("c.npy", "--workers", "1"), ("c.npy", "--shard", "0/2")])
def test_what_is_of_one_cube_does_not_go_with_many(shell: Shell, option: str, many: tuple[str, ...]) -> None:
    """Each has its own record."""
    text = said(shell, "--cube-path", *many, option, *(SINGLE | {"--pipeline-vis-ext": ("md",)})[option])
    assert f"{option} goes with one cube; of many each has its own record." in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("--cube-path", "a", "--cu3s-file-path", "b"),
            "--cube-path and --cu3s-file-path both name the cube; give one.",
        ),
        (
            ("--cube-path", "a", "--measurement", "0", "--measurement-indices", "1"),
            "--measurement and --measurement-indices both say which; give one.",
        ),
        (("--data-module", "Any", "--cube-path", "a"), "both say what the pipeline runs on; give one."),
        (("--data-module", "Any", "--cu3s-file-path", "a"), "both say what the pipeline runs on; give one."),
        (("--data-arg", "a=1"), "--data-arg goes with --data-module, which it is for."),
        (("--cube-path", "a", "--data-arg", "a=1"), "--data-arg goes with --data-module, which it is for."),
    ],
)
def test_two_options_that_say_the_same_are_refused(shell: Shell, arguments: tuple[str, ...], text: str) -> None:
    """None of them is silently left out."""
    assert text in said(shell, *arguments)


@pytest.mark.parametrize("arguments", [("--format", "npz"), ("--device", "cpu"), ("--override", "name=x")])
def test_what_is_of_the_pipeline_goes_without_a_cube(shell: Shell, arguments: tuple[str, ...]) -> None:
    """It is shown as it would run."""
    found = shell("restore-pipeline", "--pipeline-path", "gone.yaml", *arguments)
    assert "goes with" not in found.stderr
    assert "gone.yaml" in found.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--cu3s-file-path", "gone.cu3s", "--output-dir", "out"),
        ("--cube-path", "gone.npy", "--allow-untrained", "--keep", "a.x"),
        ("--data-module", "Any", "--allow-untrained", "--keep", "a.x"),
        ("--cube-path", "gone.npy", "--workers", "2", "--json", "--shard", "0/2"),
    ],
)
def test_what_goes_together_is_taken(shell: Shell, arguments: tuple[str, ...]) -> None:
    """The cube by either name; nodes of a data module's run can be untrained, and its outputs chosen."""
    found = shell("restore-pipeline", "--pipeline-path", "gone.yaml", *arguments)
    assert found.exit_code != 0
    assert "goes with" not in found.output
