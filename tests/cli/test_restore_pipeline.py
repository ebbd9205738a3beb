import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image
from spectral.io.envi import save_image

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.pipeline.pipeline import Pipeline

Shell = Callable[..., Result]


def pixels(path: Path) -> NDArray[Any]:
    """Return the pixels of a PNG file."""
    with Image.open(path) as image:
        return np.asarray(image)


KEEP = ("--keep", "rx.scores", "--keep", "mask.mask")


def test_a_run_writes_arrays_pictures_and_a_record(
    shell: Shell, pipeline_file: Path, cube_file: Path, cube: NDArray[np.float32]
) -> None:
    """Scores and mask are those of the textbook, pixel by pixel, in a folder named after the pipeline."""
    found = shell("restore-pipeline", "--pipeline-path", pipeline_file, "--cube-path", cube_file, *KEEP)
    assert found.exit_code == 0, found.output
    folder = Path("find_anomalies-output")
    files = ["mask.mask-map.png", "mask.mask.png", "outputs.npz", "report.html", "run.json", "rx.scores-map.png"]
    assert sorted(path.name for path in folder.iterdir()) == files
    spectra = cube.reshape(-1, 3).astype(float)
    centred = spectra - spectra.mean(axis=0)
    expected = np.einsum("ij,jk,ik->i", centred, np.linalg.inv(np.cov(spectra.T)), centred).reshape(4, 5)
    with np.load(folder / "outputs.npz") as archive:
        np.testing.assert_allclose(archive["rx.scores"][0, ..., 0], expected, rtol=1e-5)
        mask = archive["mask.mask"][0, ..., 0]
    np.testing.assert_array_equal(pixels(folder / "mask.mask.png"), mask)
    assert mask.sum() == 10
    assert pixels(folder / "rx.scores-map.png").shape > (500, 400)
    assert "find_anomalies-output" in found.stdout


def test_the_record_says_what_ran(shell: Shell, pipeline_file: Path, cube_file: Path) -> None:
    """Pipeline with its hash, cube, version, date, nodes in running order, and each output in each file."""
    before = datetime.now(UTC).replace(microsecond=0)
    shell("restore-pipeline", "--pipeline-path", pipeline_file, "--cube-path", cube_file, "--output-dir", "out", *KEEP)
    record = json.loads(Path("out/run.json").read_text(encoding="utf-8"))
    assert before <= datetime.fromisoformat(record["date"]) <= datetime.now(UTC)
    assert record["core"] == {"distribution": "cuvis-ai-core", "version": "1.0.0"}
    assert record["pipeline"] == {
        "name": "find anomalies",
        "file": str(pipeline_file.absolute()),
        "sha256": hashlib.sha256(pipeline_file.read_bytes()).hexdigest(),
    }
    assert record["plugins"] is None
    digest = hashlib.sha256(np.load(cube_file).tobytes()).hexdigest()
    where = {"file": str(cube_file.absolute()), "index": 0, "processing_mode": None}
    assert record["cube"] == {**where, "shape": [4, 5, 3], "dtype": "float32", "sha256": digest, "remarks": []}
    assert [(node["name"], node["kind"], node["plugin"]) for node in record["nodes"]] == [
        ("rx", "builtin", None),
        ("mask", "builtin", None),
    ]
    with np.load("out/outputs.npz") as archive:
        scores = archive["rx.scores"]
    about = {"node": "rx", "port": "scores", "shape": [1, 4, 5, 1], "dtype": "float32"}
    ends = {"min": scores.min().item(), "max": scores.max().item()}
    assert {"file": "outputs.npz", "key": "rx.scores", **about, **ends} in record["files"]
    low, high = np.percentile(scores.astype(float), (2, 98))
    (shown,) = (each for each in record["files"] if each["file"] == "rx.scores-map.png")
    assert (shown["low"], shown["high"]) == (pytest.approx(low), pytest.approx(high))
    assert {**about, **ends, "kind": "scores", "percentiles": [2, 98], "no_data": 0}.items() <= shown.items()
    (mask,) = (each for each in record["files"] if each["file"] == "mask.mask-map.png")
    assert [(each["value"], each["name"], each["share"]) for each in mask["classes"]] == [
        (0, "no", 0.5),
        (1, "yes", 0.5),
    ]


def test_a_plugin_from_a_manifest_runs_on_a_cube(
    shell: Shell, write_yaml: Callable[..., Path], sum_plugin: Path, cube_file: Path, cube: NDArray[np.float32]
) -> None:
    """A local plugin's node gives its picture, and the record names the plugin's path and version."""
    path = write_yaml("sum.yaml", {"nodes": [{"name": "sum", "class_name": "Sum"}]})
    found = shell("restore-pipeline", "--pipeline-path", path, "--plugins-path", sum_plugin, "--cube-path", cube_file)
    assert found.exit_code == 0, found.output
    assert pixels(Path("sum-output/sum.total-map.png")).shape > (500, 400)
    record = json.loads(Path("sum-output/run.json").read_text(encoding="utf-8"))
    assert record["plugins"]["sha256"] == hashlib.sha256(sum_plugin.read_bytes()).hexdigest()
    (node,) = record["nodes"]
    assert node == {
        "name": "sum",
        "class": "sum_plugin.nodes.Sum",
        "kind": "local",
        "plugin": "sums",
        "repo": None,
        "path": str(Path("../sums").resolve()),
        "tag": None,
        "commit": None,
        "distribution": "sum-plugin",
        "version": "1.0.0",
        "changed": None,
        "edited": False,
        "sha256": node["sha256"],  # of what was loaded: tests of records say more
    }


def test_a_plugin_from_a_tag_is_recorded_with_its_commit(
    shell: Shell, write_yaml: Callable[..., Path], git_plugin: Callable[..., str], cube_file: Path
) -> None:
    """Repository, tag and commit are what brings the same code back."""
    url = git_plugin("1.2.0")
    declared = {"repo": url, "tag": "v1.2.0", "provides": ["echo_plugin.nodes.Echo"]}
    manifest = write_yaml("plugins.yaml", {"plugins": {"echo": declared}})
    path = write_yaml("echo.yaml", {"nodes": [{"name": "same", "class_name": "Echo"}]})
    shell("restore-pipeline", "--pipeline-path", path, "--plugins-path", manifest, "--cube-path", cube_file)
    (node,) = json.loads(Path("echo-output/run.json").read_text(encoding="utf-8"))["nodes"]
    expected = subprocess.run(
        ["git", "ls-remote", url, "refs/tags/v1.2.0", "refs/tags/v1.2.0^{}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (node["repo"], node["tag"], node["version"]) == (url, "v1.2.0", "1.2.0")
    assert node["commit"] == expected.stdout.split()[-2]


def test_wavelengths_of_the_cube_reach_the_pipeline(
    shell: Shell, write_yaml: Callable[..., Path], cube: NDArray[np.float32]
) -> None:
    """A false-colour picture has three channels; without wavelengths the error says how to give them."""
    selector = {"name": "rgb", "class_name": "WavelengthSelector", "params": {"targets": [600, 500, 400]}}
    path = write_yaml("colours.yaml", {"nodes": [selector]})
    np.savez("cube.npz", cube=cube, wavelengths=[400.0, 500.0, 600.0])
    arguments = ("restore-pipeline", "--pipeline-path", path, "--cube-path")
    assert shell(*arguments, "cube.npz").exit_code == 0
    record = json.loads(Path("colours-output/run.json").read_text(encoding="utf-8"))
    (shown,) = (each for each in record["files"] if each["file"] == "rgb.image-map.png")
    assert (shown["kind"], shown["wavelengths"]) == ("colours", [600, 500, 400])
    red, _, blue = np.moveaxis(pixels(Path("colours-output/rgb.image.png")), -1, 0)
    for shown, band in ((red, 2), (blue, 0)):
        low, high = np.percentile(cube[..., band].astype(float), (2, 98))
        expected = np.clip((cube[..., band] - low) / (high - low), 0, 1) * 255
        assert np.abs(shown - expected).max() <= 0.51
    np.save("bare.npy", cube)
    found = shell(*arguments, "bare.npy", "--output-dir", "second")
    assert found.exit_code == 2
    assert "rgb.wavelengths" in found.stderr
    assert "The cube has no wavelengths. Save it with them" in found.stderr
    assert not Path("second").exists()


def test_remarks_about_the_cube(shell: Shell, write_yaml: Callable[..., Path], cube: NDArray[np.float32]) -> None:
    """What was assumed or left out is shown and recorded, and told to whom it is missing."""
    save_image("scene.hdr", cube, metadata={"wavelength": [400, 500], "wavelength units": "nm"})
    detector = write_yaml("rx.yaml", {"nodes": [{"name": "detector", "class_name": "RXDetector"}]})
    found = shell("restore-pipeline", "--pipeline-path", detector, "--cube-path", "scene.img", "--output-dir", "out")
    remark = "The list 'wavelength' in the header has 2 values for 3 bands; it was left out."
    assert found.exit_code == 0
    assert found.stderr.count(f"Warning: scene.img: {remark}") == 1
    assert json.loads(Path("out/run.json").read_text(encoding="utf-8"))["cube"]["remarks"] == [remark]
    selector = {"name": "rgb", "class_name": "WavelengthSelector", "params": {"targets": [600]}}
    needs = write_yaml("rgb.yaml", {"nodes": [selector]})
    found = shell("restore-pipeline", "--pipeline-path", needs, "--cube-path", "scene.hdr")
    assert found.exit_code == 2
    assert f"{remark} The cube has no wavelengths." in found.stderr


def test_place_and_time_of_the_cube_are_written(
    shell: Shell, pipeline_file: Path, cube: NDArray[np.float32], tmp_path: Path
) -> None:
    """In run.json and in the archive, as the header says."""
    more = {"map info": "{UTM, 1, 1, 500, 900, 2, 2}", "acquisition time": "2024-05-01T10:00:00Z"}
    save_image(tmp_path / "scene.hdr", cube, metadata=more)
    found = shell("restore-pipeline", "--pipeline-path", pipeline_file, "--cube-path", tmp_path / "scene.hdr")
    assert found.exit_code == 0, found.output
    record = json.loads(Path("find_anomalies-output/run.json").read_text(encoding="utf-8"))["cube"]
    assert (record["transform"], record["acquired"]) == ([2, 0, 500, 0, -2, 900], "2024-05-01T10:00:00+00:00")
    with np.load("find_anomalies-output/outputs.npz") as archive:
        assert archive["transform"].tolist() == record["transform"]
        assert archive["acquired"] == record["acquired"]


def test_a_second_run_replaces_the_first(shell: Shell, pipeline_file: Path, cube_file: Path) -> None:
    """The same folder can be used again, and the same inputs give the same bytes."""
    arguments = ("restore-pipeline", "--pipeline-path", pipeline_file, "--cube-path", cube_file, "--output-dir", "out")
    shell(*arguments)
    first = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    (Path("out") / "notes.txt").write_text("mine")
    assert shell(*arguments).exit_code == 0
    second = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    assert second.pop("notes.txt") == b"mine"
    first.pop("report.html"), second.pop("report.html")  # with the time that it took
    records = [json.loads(each.pop("run.json")) for each in (first, second)]
    assert records[0]["files"] == records[1]["files"]
    assert first == second


def test_results_go_to_stdout_and_progress_to_stderr(
    process: Callable[..., subprocess.CompletedProcess[str]], pipeline_file: Path, cube_file: Path
) -> None:
    """In a real process without a terminal: plain lines, no control characters."""
    found = process("restore-pipeline", "--pipeline-path", pipeline_file, "--cube-path", cube_file)
    assert found.returncode == 0
    assert found.stderr.splitlines() == [
        "Reading cube.npy",
        "Running 2 nodes on cube.npy",
        "Writing find_anomalies-output",
    ]
    assert found.stdout.startswith("Results\n")
    assert "\x1b" not in found.stdout


def test_a_local_plugin_without_a_project_file_is_warned_about_in_one_line(
    process: Callable[..., subprocess.CompletedProcess[str]], sum_plugin: Path, write_yaml: Callable[..., Path]
) -> None:
    """It loads as having no dependencies."""
    Path("../sums/pyproject.toml").unlink()
    path = write_yaml("sum.yaml", {"nodes": [{"name": "sum", "class_name": "Sum"}]})
    found = process("restore-pipeline", "--pipeline-path", path, "--plugins-path", sum_plugin)
    warnings = [line for line in found.stderr.splitlines() if line.startswith("Warning: ")]
    assert found.returncode == 0, found.stderr
    assert len(warnings) == 1
    assert "pyproject.toml" in warnings[0]


FAILING = """\
    def forward(self, cube):
        {body}
"""


@pytest.mark.parametrize("body", ["raise ValueError('no light')", "import sys; sys.exit(0)"])
def test_a_node_that_fails_ends_with_1_and_leaves_nothing(
    shell: Shell, write_yaml: Callable[..., Path], sum_plugin: Path, cube_file: Path, body: str
) -> None:
    """Also where its code calls sys.exit(0): that is no success."""
    module = Path("../sums/src/sum_plugin/nodes.py")
    source = module.read_text(encoding="utf-8")
    module.write_text(source.replace('return {"total"', f'{body}; return {{"total"'), encoding="utf-8")
    path = write_yaml("sum.yaml", {"nodes": [{"name": "sum", "class_name": "Sum"}]})
    before = sorted(Path().iterdir())
    found = shell("restore-pipeline", "--pipeline-path", path, "--plugins-path", sum_plugin, "--cube-path", cube_file)
    assert found.exit_code == 1
    assert "\nError: " in found.stderr
    assert "Traceback" not in found.stderr
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "Missing option '--pipeline-path'"),
        (("--pipeline-path", "missing.yaml"), "There is no pipeline file 'missing.yaml'"),
        (("--pipeline-path", "."), ". is a folder; a pipeline is a YAML file"),
        (("--pipeline-path", "anomalies.yaml", "--output-dir", "out"), "--output-dir goes with --cube-path"),
        (("--pipeline-path", "anomalies.yaml", "--cube-path", "cub.npy"), "Did you mean 'cube.npy'?"),
        (("--pipeline-path", "anomalies.yaml", "--cube-path", "."), "is a folder; a cube is a file"),
        (("--pipeline-path", "anomalies.yaml", "--cube-path", "anomalies.yaml"), "No reader for the cube"),
        (("--pipeline-path", "anomalies.yaml", "--plugins-path", "missing.yaml"), "missing.yaml"),
        (("--pipeline-path", "anomalies.yaml", "--plugins-path", "."), "folder"),
        (("--pipeline-path", "anomalies.yaml", "--cube-path", "cube.npy", "--output-dir", "cube.npy"), "--output-dir"),
        (("--pipeline-path", "cube.npy"), "cube.npy"),
        (("--pipeline-path", "anomalies.yaml", "--profile"), "--profile goes with --cube-path"),
        (("--pipeline-path", "anomalies.yaml", "--pipeline-vis-ext", "pdf"), "'pdf' is not one of"),
        (("--pipeline-path", "anomalies.yaml", "--device", "cudda"), "evice 'cudda'"),
        (("--pipeline-path", "anomalies.yaml", "--weights-path", "w.pt"), "There is no file of weights 'w.pt'"),
        (("--pipeline-path", "anomalies.yaml", "--weights-path", "cube.npy"), "is no file of weights"),
        (("--pipeline-path", "anomalies.yaml", "--override", "nodes.rx"), "'nodes.rx' is no override"),
        (("--pipeline-path", "anomalies.yaml", "--cube-path", "cube.npy", "--json"), "--json goes with many cubes"),
        (("--pipeline-path", "anomalies.yaml", "--plugins-dir", "absent"), "'absent' does not exist"),
        (
            ("--pipeline-path", "anomalies.yaml", "--measurement", "0", "--measurement-indices", "0,1"),
            "both say which",
        ),
        (("--pipeline-path", "anomalies.yaml", "--cube-path", "*.npy", "--shard", "2/2"), "'2/2' is no part"),
        (("--pipeline-path", "anomalies.yaml", "--override", "nodes.maks.params.a=1"), "Did you mean 'mask'?"),
        (("--pipeline-path", "anomalies.yaml", "--override", "nodes.mask.params.quantil=1"), "did you mean 'quantile'"),
        (
            ("--pipeline-path", "anomalies.yaml", "--cube-path", "*.npy", "--output-dir", "o", "--timeout", "0"),
            "0.0 is not in the range x>0",
        ),
    ],
)
def test_wrong_input_is_one_clear_error(
    shell: Shell, pipeline_file: Path, cube_file: Path, arguments: tuple[str, ...], text: str
) -> None:
    """Status 2, a text that names what is wrong, no traceback, and nothing written."""
    before = sorted(Path().iterdir())
    found = shell("restore-pipeline", *arguments)
    assert found.exit_code == 2
    assert found.stderr.count("Error: ") == 1
    assert text in found.stderr
    assert "Traceback" not in found.output
    assert found.stdout == ""
    assert sorted(Path().iterdir()) == before


FOR_CUBES = {
    "--output-dir": "out",
    "--profile": "",
    "--profile-sync": "",
    "--allow-untrained": "",
    "--measurement": "0",
    "--measurement-indices": "0,1",
    "--annotation-json-path": "labels.json",
    "--processing-mode": "Raw",
    "--keep": "rx.scores",
    "--memory": "1GB",
    "--format": "envi",
}
FOR_ONE = ("--measurement-indices", "--annotation-json-path", "--profile", "--profile-sync", "--pipeline-vis-ext")
FOR_MANY = {"--timeout": "5", "--max-failures": "1", "--retry-failed": "", "--shard": "0/2", "--metrics-file": "m"}


@pytest.mark.parametrize("option", [*FOR_CUBES, *FOR_MANY])
def test_options_of_a_run_are_refused_where_nothing_is_run(shell: Shell, pipeline_file: Path, option: str) -> None:
    """Nobody believes that they did anything."""
    value = {**FOR_CUBES, **FOR_MANY}[option]
    found = shell("restore-pipeline", "--pipeline-path", pipeline_file, option, *([value] if value else []))
    assert found.exit_code == 2
    assert f"Error: {option} goes with" in found.stderr


@pytest.mark.parametrize("option", [*FOR_ONE, "--metrics-file"])
def test_options_of_one_cube_and_of_many_are_told_apart(
    shell: Shell, pipeline_file: Path, cube_file: Path, option: str
) -> None:
    """Each is refused with the other."""
    value = {**FOR_CUBES, **FOR_MANY, "--pipeline-vis-ext": "md"}[option]
    cubes = "*.npy" if option in FOR_ONE else cube_file
    arguments = ("--pipeline-path", pipeline_file, "--cube-path", cubes, option, *([value] if value else []))
    found = shell("restore-pipeline", *arguments)
    assert found.exit_code == 2
    assert f"{option} goes with {'one cube' if option in FOR_ONE else 'many cubes'}" in found.stderr


def test_what_is_asked_of_a_pipeline_is_handed_on(
    shell: Shell, pipeline_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it."""
    taken: dict[str, Any] = {}

    def load(path: Path, **options: Any) -> None:
        taken.clear()
        taken.update({"allow_untrained": False, "outline": False}, **options, path=path)
        raise PipelineError("It is enough to have been asked.")

    monkeypatch.setattr(Pipeline, "load", load)
    options = ("--weights-path", "w.pt", "--device", "cuda:1", "--override", "nodes.a.params.b=1")
    module = ("--allow-untrained", "--data-module", "any")
    for more in (module, ()):
        assert "have been asked" in shell("restore-pipeline", "--pipeline-path", pipeline_file, *options, *more).stderr
        found = (str(taken["weights"]), taken["device"], taken["overrides"], taken["allow_untrained"], taken["outline"])
        assert found == ("w.pt", "cuda:1", ("nodes.a.params.b=1",), bool(more), not more)


def test_a_folder_of_cubes_and_a_place_that_is_none_are_told(
    shell: Shell, pipeline_file: Path, cube_file: Path
) -> None:
    """With the option that runs on all of them; a file of metrics that cannot be written is an error of ours."""
    Path("cubes").mkdir()
    found = shell("restore-pipeline", "--pipeline-path", pipeline_file, "--cube-path", "cubes")
    assert (found.exit_code, "For all cubes in it: --workers 1, or a pattern" in found.stderr) == (2, True)
    many = ("restore-pipeline", "--pipeline-path", pipeline_file, "--cube-path", cube_file, "--workers", "1")
    found = shell(*many, "--metrics-file", "cubes")
    assert (found.exit_code, "'cubes' is a directory" in found.stderr) == (2, True)
    found = shell(*many, "--metrics-file", "absent/metrics")
    assert (found.exit_code, "Choose another place with --metrics-file." in found.stderr) == (2, True)


def test_a_cube_that_does_not_fit_the_pipeline_is_wrong_input(
    shell: Shell, write_yaml: Callable[..., Path], cube_file: Path
) -> None:
    """An input that no cube gives is named with the way out."""
    path = write_yaml("p.yaml", {"nodes": [{"name": "mask", "class_name": "QuantileDecider"}]})
    found = shell("restore-pipeline", "--pipeline-path", path, "--cube-path", cube_file)
    assert found.exit_code == 2
    assert "mask.scores" in found.stderr
    assert "A cube gives 'cube' and 'wavelengths'." in found.stderr


def test_a_node_that_is_not_found_is_answered_with_the_documented_text(
    shell: Shell, write_yaml: Callable[..., Path], cube_file: Path
) -> None:
    """The words of the registry come first, with the command that loads plugins."""
    path = write_yaml("p.yaml", {"nodes": [{"name": "detector", "class_name": "AdaCLIPDetector"}]})
    found = shell("restore-pipeline", "--pipeline-path", path, "--cube-path", cube_file)
    assert found.exit_code == 2
    assert found.stderr.startswith("Error: Node 'AdaCLIPDetector' not found in registry.")
    assert "uv run restore-pipeline --pipeline-path <path> --plugins-path plugins.yaml" in found.stderr


def test_a_cube_that_is_missing_is_noticed_before_plugins_are_loaded(
    shell: Shell, pipeline_file: Path, sum_plugin: Path
) -> None:
    """Fetching and installing may take long."""
    found = shell(
        "restore-pipeline", "--pipeline-path", pipeline_file, "--plugins-path", sum_plugin, "--cube-path", "no.npy"
    )
    assert found.exit_code == 2
    assert found.stderr.startswith("Error: There is no cube 'no.npy'.")


def test_a_plugin_that_cannot_be_loaded_is_failed_work(
    shell: Shell, pipeline_file: Path, write_yaml: Callable[..., Path]
) -> None:
    """The error names the plugin, the step and the path."""
    manifest = write_yaml("plugins.yaml", {"plugins": {"sums": {"path": "not-there", "provides": ["a.Sum"]}}})
    found = shell("restore-pipeline", "--pipeline-path", pipeline_file, "--plugins-path", manifest)
    assert found.exit_code == 1
    assert "Failed to load plugin 'sums' (resolving)" in found.stderr
    assert "not-there" in found.stderr


def test_the_graph_is_drawn(shell: Shell, pipeline_file: Path, cube_file: Path) -> None:
    """Beside the description into the working directory, with a cube into the folder of results."""
    arguments = ("restore-pipeline", "--pipeline-path", pipeline_file, "--pipeline-vis-ext", "md")
    found = shell(*arguments)
    assert found.exit_code == 0, found.output
    assert "Drawn to find_anomalies-pipeline.md." in found.stdout
    picture = Path("find_anomalies-pipeline.md").read_text(encoding="utf-8")
    assert "rx<br/>RXDetector" in picture
    for _ in range(2):  # a second run replaces it
        assert shell(*arguments, "--cube-path", cube_file, "--output-dir", "out").exit_code == 0
    assert Path("out/pipeline.md").read_text(encoding="utf-8") == picture
    record = json.loads(Path("out/run.json").read_text(encoding="utf-8"))
    assert {"file": "pipeline.md", "shows": "the graph of the pipeline"} in record["files"]


def test_a_picture_that_cannot_be_drawn_is_known_before_the_work(
    shell: Shell, pipeline_file: Path, cube_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written."""
    monkeypatch.setenv("PATH", "")
    arguments = ("restore-pipeline", "--pipeline-path", pipeline_file, "--pipeline-vis-ext", "png")
    before = sorted(Path().iterdir())
    for more in ((), ("--cube-path", cube_file)):
        found = shell(*arguments, *more)
        assert found.exit_code == 2
        assert "Graphviz" in found.stderr
        assert "Running" not in found.stderr
        assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("option", ["--profile", "--profile-sync"])
def test_a_profile_shows_the_time_of_each_node(
    shell: Shell, pipeline_file: Path, cube_file: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """As a table, and as JSON in the folder of results; what runs on a GPU is waited for where that is asked for."""
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "0")
    arguments = ("restore-pipeline", "--pipeline-path", pipeline_file, "--cube-path", cube_file, "--output-dir", "out")
    found = shell(*arguments, option)
    assert found.exit_code == 0, found.output
    assert os.environ["CUDA_LAUNCH_BLOCKING"] == str(int(option == "--profile-sync"))
    table = found.stdout.partition("Time of the nodes")[2]
    assert all(word in table for word in ("calls", "total [ms]", "mean [ms]", "share", "rx", "mask"))
    profile = json.loads(Path("out/profile.json").read_text(encoding="utf-8"))
    assert {(each["node"], each["calls"]) for each in profile["nodes"]} == {("rx", 1), ("mask", 1)}
    assert profile["runs"] == 1
    assert shell(*arguments).exit_code == 0
    assert not Path("out/profile.json").exists()


def test_values_of_the_file_can_be_replaced(shell: Shell, pipeline_file: Path, cube_file: Path) -> None:
    """And the record says so."""
    arguments = ("restore-pipeline", "--pipeline-path", pipeline_file, "--cube-path", cube_file, "--output-dir", "out")
    assert shell(*arguments, "--override", "nodes.mask.params.quantile=0.9").exit_code == 0
    with np.load("out/outputs.npz") as archive:
        assert archive["mask.mask"].sum() == 2
    record = json.loads(Path("out/run.json").read_text(encoding="utf-8"))
    assert record["overrides"] == ["nodes.mask.params.quantile=0.9"]
    assert (record["device"], record["weights"]) == ("cpu", None)


def test_weights_beside_the_file_are_used_and_recorded(
    shell: Shell, write_yaml: Callable[..., Path], torch_plugin: Path, cube_file: Path
) -> None:
    """With a plugin whose node is one of torch."""
    torch = pytest.importorskip("torch")
    path = write_yaml("gain.yaml", {"nodes": [{"name": "gain", "class_name": "Gain"}]})
    torch.save({"state_dict": {"gain": {"gain": torch.tensor(3.0)}}, "metadata": {}}, "gain.pt")
    arguments = ("restore-pipeline", "--pipeline-path", path, "--plugins-path", torch_plugin)
    found = shell(*arguments, "--cube-path", cube_file)
    assert found.exit_code == 0, found.output
    with np.load("gain-output/outputs.npz") as archive:
        np.testing.assert_array_equal(archive["gain.cube"][0], np.load(cube_file) * 3)
    record = json.loads(Path("gain-output/run.json").read_text(encoding="utf-8"))
    assert record["weights"]["sha256"] == hashlib.sha256(Path("gain.pt").read_bytes()).hexdigest()
    torch.save({"state_dict": {"gain": {"gain": torch.ones(3)}}}, "gain.pt")
    found = shell(*arguments)
    assert found.exit_code == 2
    assert (
        "gain.pt: The weights do not fit node 'gain' (Gain): 'gain' has the shape [3], the node's is []."
        in found.stderr
    )
    Path("gain.pt").write_bytes(b"no weights")
    assert "Weights 'gain.pt' cannot be read" in shell(*arguments).stderr


def test_untrained_nodes_run_only_for_those_who_mean_it(
    shell: Shell, write_yaml: Callable[..., Path], torch_plugin: Path, cube_file: Path
) -> None:
    """Without weights the error names the node and the option; showing the pipeline needs none."""
    pytest.importorskip("torch")
    path = write_yaml("gain.yaml", {"nodes": [{"name": "gain", "class_name": "Gain"}]})
    arguments = ("restore-pipeline", "--pipeline-path", path, "--plugins-path", torch_plugin)
    assert shell(*arguments).exit_code == 0
    found = shell(*arguments, "--cube-path", cube_file)
    assert found.exit_code == 2
    assert "Error: Node 'gain' is not trained" in found.stderr
    assert "--allow-untrained" in found.stderr
    assert not Path("gain-output").exists()
    assert shell(*arguments, "--cube-path", cube_file, "--allow-untrained").exit_code == 0


def _series_plugin(folder: Path) -> None:
    """Have a plugin project read `.series` files, which hold three cubes."""
    (folder / "src/echo_plugin/hooks.py").write_text(
        "import numpy as np\n"
        "from cuvis_ai_core.data import Cube\n"
        "from cuvis_ai_hookspecs import hookimpl\n\n\n"
        "def read(path, processing_mode='Raw'):\n"
        "    factor = {'Raw': 1, 'Double': 2}[processing_mode]\n"
        "    shape = (4, 5, 3)\n"
        "    return [Cube(np.full(shape, factor * number), source=path, index=number) for number in range(3)]\n\n\n"
        "@hookimpl\n"
        "def cuvis_ai_cube_readers():\n"
        "    return {'.series': 'echo_plugin.hooks.read'}\n",
        encoding="utf-8",
    )
    project = folder / "pyproject.toml"
    entry = '\n[project.entry-points."cuvis_ai.nodes"]\nhooks = "echo_plugin.hooks"\n'
    project.write_text(project.read_text(encoding="utf-8") + entry, encoding="utf-8")


def test_one_cube_of_several(shell: Any, local_plugin: Any, write_yaml: Any) -> None:
    """A file of several cubes needs a number; a mode of processing goes to its reader."""
    _series_plugin(local_plugin())
    write_yaml("plugins.yaml", {"plugins": {"echo": {"path": "../echo", "provides": ["echo_plugin.nodes.Echo"]}}})
    write_yaml("echo.yaml", {"nodes": [{"name": "echo", "class_name": "Echo"}]})
    Path("lab.series").write_bytes(b"")
    start = ("restore-pipeline", "--pipeline-path", "echo.yaml", "--plugins-path", "plugins.yaml")
    result = shell(*start, "--cube-path", "lab.series")
    assert result.exit_code == 2, result.output
    assert "holds 3 cubes" in result.output
    assert "--measurement" in result.output
    chosen = ("--measurement", "2", "--processing-mode", "Double", "--output-dir", "out")
    result = shell(*start, "--cube-path", "lab.series", *chosen)
    assert result.exit_code == 0, result.output
    with np.load("out/outputs.npz") as outputs:
        assert outputs["echo.cube"].max() == 4
    record = json.loads(Path("out/run.json").read_text(encoding="utf-8"))["cube"]
    assert (record["index"], record["processing_mode"]) == (2, "Double")


def test_session_files(shell: Any, pipeline_file: Path, cube_file: Path) -> None:
    """Where the SDK cannot start, a session file says what is missing; and a cube is named once."""
    Path("lentils.cu3s").write_bytes(b"")
    start = ("restore-pipeline", "--pipeline-path", pipeline_file, "--cu3s-file-path", "lentils.cu3s")
    result = shell(*start)
    assert result.exit_code == 2, result.output
    assert "libcuvis" in result.output
    assert "Traceback" not in result.output
    assert shell(*start, "--cube-path", cube_file).exit_code == 2
    result = shell("restore-pipeline", "--pipeline-path", pipeline_file, "--measurement", "1")
    assert "--measurement goes with --cube-path" in result.output


@pytest.mark.parametrize("option", ["--workers 2", "--json", "--shard 0/2"])
def test_session_files_are_many_cubes_too(shell: Shell, pipeline_file: Path, option: str) -> None:
    """They are as many as a pattern finds, whichever of the two options it was given with."""
    result = shell("restore-pipeline", "--pipeline-path", pipeline_file, "--cu3s-file-path", "*.cu3s", *option.split())
    assert "goes with" not in result.stderr
    assert "*.cu3s" in result.stderr


@pytest.mark.parametrize("option", FOR_ONE)
def test_options_of_one_cube_are_refused_for_many_session_files(shell: Shell, pipeline_file: Path, option: str) -> None:
    """None of them is taken in silence."""
    value = {**FOR_CUBES, "--pipeline-vis-ext": "md"}[option]
    start = ("restore-pipeline", "--pipeline-path", pipeline_file, "--cu3s-file-path", "*.cu3s", option)
    result = shell(*start, *([value] if value else []))
    assert result.exit_code == 2
    assert f"Error: {option} goes with one cube" in result.stderr


CLASSES_NODE = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec


class Classes(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"classes": PortSpec(np.int32, (-1, -1, -1), "Kind of plant [batch, height, width]")}

    def forward(self, cube):
        return {"classes": np.where(np.isnan(cube[..., 0]), 0, 1 + (cube[..., 0] > 0.5)).astype(np.int32)}
"""


def test_names_of_classes_come_from_the_metadata_of_the_pipeline(
    shell: Shell, write_yaml: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stand in the legend and in run.json; a pixel of the cube without data is no class, and reads back as 0."""
    Path("classes_of_plants.py").write_text(CLASSES_NODE, encoding="utf-8")
    monkeypatch.syspath_prepend(".")
    monkeypatch.setenv("PYTHONPATH", ".")
    names = {"plants": {"classes": {"1": "corn", "2": "grass"}}}
    node = {"name": "plants", "class_name": "classes_of_plants.Classes"}
    path = write_yaml("p.yaml", {"metadata": {"class_names": names}, "nodes": [node]})
    cube = np.array([[[0.1, 0], [0.9, 0]], [[0.8, 0], [np.nan, 0]]])
    np.save("cube.npy", cube)
    arguments = ("restore-pipeline", "--pipeline-path", path, "--cube-path", "cube.npy", "--output-dir", "out")
    found = shell(*arguments)
    assert found.exit_code == 0, found.output
    record = json.loads(Path("out/run.json").read_text(encoding="utf-8"))
    (shown,) = (each for each in record["files"] if each["file"] == "plants.classes-map.png")
    assert [(each["value"], each["name"], each["share"]) for each in shown["classes"]] == [
        (0, None, 0),
        (1, "corn", 0.25),
        (2, "grass", 0.5),
    ]
    assert shown["no_data"] == 1
    assert pixels(Path("out/plants.classes.png")).tolist() == [[1, 2], [2, 0]]
    found = shell(*arguments, "--override", "metadata.class_names.plants.kinds.1=oats")
    assert found.exit_code == 2
    assert "metadata.class_names: there is no output 'plants.kinds'" in found.stderr
    found = shell(*arguments, "--override", "metadata.class_names.plants.classes.x=oats")
    assert "metadata.class_names.plants.classes: 'x' is no class number" in found.stderr


def test_a_run_without_results_says_where_to_look(
    shell: Shell, write_yaml: Callable[..., Path], cube_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of a table without rows."""
    node = {"name": "rx", "class_name": "RXDetector", "params": {"execution_stages": ["train"]}}
    path = write_yaml("p.yaml", {"nodes": [node]})
    found = shell("restore-pipeline", "--pipeline-path", path, "--cube-path", cube_file, "--profile")
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("No output is an array: name others by --keep NODE.PORT")
    assert "No node ran in the stage 'inference'" in found.stdout
    assert "outputs.npz holds all arrays, run.json says what ran." in " ".join(found.stdout.split())


def test_the_table_of_results_is_short_and_says_which_files_hold_arrays(
    shell: Shell, pipeline_file: Path, cube_file: Path
) -> None:
    """Four digits of each end, and each file of arrays by its name."""
    run = ("restore-pipeline", "--pipeline-path", pipeline_file, "--cube-path", cube_file, "--format", "envi")
    found = shell(*run, "--output-dir", "out", *KEEP)
    assert found.exit_code == 0, found.output
    files = json.loads(Path("out/run.json").read_text(encoding="utf-8"))["files"]
    arrays = {each["key"]: each for each in files if "key" in each}
    rows = {line.split()[0]: line for line in found.stdout.splitlines() if line.startswith((" rx.", " mask."))}
    scores = arrays["rx.scores"]
    assert f" {scores['min']:.4g} " in rows["rx.scores"]
    assert f" {scores['max']:.4g} " in rows["rx.scores"]
    for key, each in arrays.items():
        shown = [other["file"] for other in files if "kind" in other and f"{other['node']}.{other['port']}" == key]
        more = f" and {len(shown) - 1} more" if len(shown) > 1 else ""
        size = "x".join(map(str, each["shape"]))
        assert " ".join(rows[key].split()).endswith(f"{shown[0]}{more}" if shown else " -")
        assert rows[key].split()[1:3] == [each["dtype"], size]
    names = [str(each["file"]) for each in arrays.values()]
    assert len(set(names)) == 2
    assert f"{', '.join(names)} hold arrays, run.json says what ran." in " ".join(found.stdout.split())
    found = shell(*run, "--output-dir", "one", "--keep", "rx.scores")
    assert f"{scores['file']} holds an array, run.json says what ran." in " ".join(found.stdout.split())
