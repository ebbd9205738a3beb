"""Configurations in a plugin's package are found without a hook: pipelines by name, node defaults in default.yaml."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.cli.describe_node import print_node
from cuvis_ai_core.errors import PipelineError

Files = dict[str, str]

NODES = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec


class Gain(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}

    def __init__(self, gain=1.0, offset=0.0, **base):
        super().__init__(gain=gain, offset=offset, **base)

    def forward(self, cube):
        return {"cube": cube * self.hparams["gain"] + self.hparams["offset"]}
"""
PIPELINE = "nodes:\n  - {name: gain, class_name: Gain, params: {offset: 3}}\n"
DEFAULTS = "# what the camera needs\nGain:\n  gain: 2\n  offset: 1\n"


@pytest.fixture
def project(project_files: Callable[..., Files], write_files: Callable[[Path, Files], Path], tmp_path: Path) -> Any:
    """Return a function that writes a plugin with files in its package, and returns its manifest entry."""

    def make(package: str = "with_configs", *, flat: bool = False, **files: str) -> dict[str, Any]:
        inside = package.replace(".", "/")
        content = project_files(package.replace(".", "_"))
        content = {"pyproject.toml": content["pyproject.toml"], f"src/{inside}/__init__.py": ""}
        content[f"src/{inside}/nodes.py"] = NODES
        content |= {f"src/{inside}/configs/{name.replace('__', '/')}.yaml": text for name, text in files.items()}
        if flat:
            content = {name.removeprefix("src/"): text for name, text in content.items()}
            head, _, rest = content["pyproject.toml"].partition("[project]")
            assert head
            backend = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[project]'
            content["pyproject.toml"] = backend + rest
        elif "." in package:
            content["pyproject.toml"] += f'[tool.uv.build-backend]\nmodule-name = "{package}"\n'
        folder = write_files(tmp_path / package.replace(".", "_"), content)
        return {"path": str(folder), "provides": [f"{package}.nodes.Gain"]}

    return make


Project = Callable[..., dict[str, Any]]


@pytest.fixture
def params(registry: NodeRegistry) -> Callable[..., dict[str, Any]]:
    """Return a function that builds a pipeline of one node and returns what the node was made with."""

    def build(class_name: str = "Gain", **given: Any) -> dict[str, Any]:
        nodes = [{"name": "gain", "class_name": class_name, "params": given}]
        return dict(Pipeline.from_dict({"nodes": nodes}, node_registry=registry).nodes["gain"].hparams)

    return build


@pytest.mark.slow
@pytest.mark.parametrize("flat", [False, True], ids=["src", "flat"])
@pytest.mark.parametrize("name", ["bright", "pipeline__bright"])
def test_a_pipeline_in_the_package_is_found_by_name(
    registry: NodeRegistry, project: Project, name: str, *, flat: bool
) -> None:
    """In `configs` and in `configs/pipeline`, with the defaults of its plugin under what it says itself."""
    registry.load_plugin("bright_plugin", project(flat=flat, default=DEFAULTS, **{name: PIPELINE}))
    names = ("bright", "bright.yaml", "bright_plugin:bright")
    pipelines = [Pipeline.load(each, node_registry=registry) for each in names]
    assert [each.nodes["gain"].hparams for each in pipelines] == [{"gain": 2, "offset": 3}] * 3
    assert pipelines[0].to_dict()["nodes"][0]["params"] == {"gain": 2, "offset": 3}  # what is saved says everything


@pytest.mark.parametrize(
    "form", [DEFAULTS, f"nodes:\n{DEFAULTS}".replace("\nGain", "\n Gain").replace("\n  ", "\n   ")]
)
@pytest.mark.parametrize("by", ["Gain", "with_configs.nodes.Gain"])
def test_defaults_hold_where_a_pipeline_says_nothing(
    registry: NodeRegistry, project: Project, params: Callable[..., dict[str, Any]], form: str, by: str
) -> None:
    """By class, at the top of the file or under `nodes`; an edit is seen by the next pipeline; a class is as it is."""
    entry = project(default=form)
    registry.load_plugin("echo", entry)
    assert params(by) == {"gain": 2, "offset": 1}
    assert params(by, gain=5) == {"gain": 5, "offset": 1}
    assert registry.get("Gain")().hparams == {"gain": 1.0, "offset": 0.0}
    file = Path(entry["path"], "src/with_configs/configs/default.yaml")
    file.write_text("with_configs.nodes.Gain: {gain: 7}\n")
    assert params(by) == {"gain": 7, "offset": 0.0}


@pytest.mark.slow
def test_what_a_build_left_out_is_found_in_the_checkout(
    registry: NodeRegistry, project: Project, git_host: Any, params: Callable[..., dict[str, Any]]
) -> None:
    """The build leaves out files that are no code, as setuptools does unless told otherwise; the tag has them."""
    folder = Path(project(flat=True, default=DEFAULTS, bright=PIPELINE)["path"])
    url = git_host.add("with-configs-setuptools", folder, tag="v1.0.0")
    registry.load_plugin("echo", {"repo": url, "tag": "v1.0.0", "provides": ["with_configs.nodes.Gain"]})
    assert not list(registry.plugin_info("echo").target.rglob("*.yaml"))
    assert params() == {"gain": 2, "offset": 1}
    assert Pipeline.load("bright", node_registry=registry).nodes["gain"].hparams["offset"] == 3


def test_a_plugin_from_git_has_its_installed_files(
    registry: NodeRegistry, project: Project, git_host: Any, params: Callable[..., dict[str, Any]]
) -> None:
    """They are found once, though the checkout has them too."""
    folder = Path(project(default=DEFAULTS, bright=PIPELINE)["path"])
    url = git_host.add("with-configs", folder, tag="v1.0.0")
    registry.load_plugin("echo", {"repo": url, "tag": "v1.0.0", "provides": ["with_configs.nodes.Gain"]})
    assert registry.config_dirs() == [registry.plugin_info("echo").target / "with_configs/configs"]
    assert params() == {"gain": 2, "offset": 1}


def test_a_package_in_a_namespace_has_configurations_too(
    registry: NodeRegistry, project: Project, params: Callable[..., dict[str, Any]]
) -> None:
    """They lie in the plugin's own package, below folders without an `__init__.py`."""
    registry.load_plugin("echo", project("our_lab.with_configs", default=DEFAULTS, bright=PIPELINE))
    assert params() == {"gain": 2, "offset": 1}
    assert Pipeline.load("bright", node_registry=registry).nodes["gain"].hparams["offset"] == 3


@pytest.mark.slow
def test_a_plugin_in_a_process_of_its_own_has_configurations_too(
    registry: NodeRegistry, project: Project, params: Callable[..., dict[str, Any]]
) -> None:
    """Nothing of it is imported here for that."""
    registry.load_plugin("echo", {**project(default=DEFAULTS, bright=PIPELINE), "isolation": "process"})
    assert params() == {"gain": 2, "offset": 1}
    assert Pipeline.load("echo:bright", node_registry=registry).nodes["gain"].hparams["offset"] == 3


def test_one_name_in_two_plugins_is_an_error_that_names_both(registry: NodeRegistry, project: Project) -> None:
    """And says how to mean one of them."""
    registry.load_plugin("left", project("left_package", bright=PIPELINE))
    registry.load_plugin("right", project("right_package", bright=PIPELINE.replace("Gain", "right_package.nodes.Gain")))
    with pytest.raises(PipelineError, match="Several pipelines are named 'bright'") as caught:
        Pipeline.load("bright", node_registry=registry)
    assert "(plugin 'left')" in str(caught.value)
    assert "(plugin 'right')" in str(caught.value)
    assert "'left:bright'" in str(caught.value)
    pipeline = Pipeline.load("right:bright", node_registry=registry)
    assert type(pipeline.nodes["gain"]) is registry.get("right_package.nodes.Gain")
    with pytest.raises(PipelineError, match="no pipeline file 'middle:bright'"):
        Pipeline.load("middle:bright", node_registry=registry)


def test_each_plugin_has_its_own_defaults(
    registry: NodeRegistry, project: Project, params: Callable[..., dict[str, Any]]
) -> None:
    """Classes of one name in two plugins, with a file each."""
    registry.load_plugin("left", project("left_package", default=DEFAULTS))
    registry.load_plugin("right", project("right_package", default="Gain: {gain: 9}\n"))
    assert params("left_package.nodes.Gain") == {"gain": 2, "offset": 1}
    assert params("right_package.nodes.Gain") == {"gain": 9, "offset": 0.0}


def test_nodes_show_tells_the_defaults_of_its_plugin(
    registry: NodeRegistry, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below what the class itself declares, with the file; nothing where there are none."""
    registry.load_plugin("left", project("left_package", default=DEFAULTS))
    registry.load_plugin("right", project("right_package"))
    print_node(registry, registry.get("left_package.nodes.Gain"))
    shown = capsys.readouterr().out
    assert "  gain=1.0\n  offset=0.0\n" in shown
    assert "default.yaml):\n  gain: 2\n  offset: 1\n" in shown
    print_node(registry, registry.get("right_package.nodes.Gain"))
    assert "default.yaml" not in capsys.readouterr().out


def test_default_may_be_a_pipeline(
    registry: NodeRegistry, project: Project, params: Callable[..., dict[str, Any]]
) -> None:
    """A file with a list of nodes is one; its parameters are its own, not everybody's."""
    registry.load_plugin("echo", project(default=PIPELINE))
    assert Pipeline.load("default", node_registry=registry).nodes["gain"].hparams["offset"] == 3
    assert params() == {"gain": 1.0, "offset": 0.0}


def test_node_defaults_are_no_pipeline(registry: NodeRegistry, project: Project) -> None:
    """The pipeline of that name may lie in `configs/pipeline`."""
    registry.load_plugin("echo", project(default=DEFAULTS, pipeline__default=PIPELINE))
    assert Pipeline.load("default", node_registry=registry).nodes["gain"].hparams == {"gain": 2, "offset": 3}
    registry.unload_plugin("echo")
    registry.load_plugin("other", project("other_package", default=DEFAULTS))
    with pytest.raises(PipelineError, match="no pipeline of that name"):
        Pipeline.load("default", node_registry=registry)


@pytest.mark.parametrize("text", ["", "threshold: 0.5\npaths: {data: here}\n", "defaults:\n  - trainer: adam\n"])
def test_a_file_for_the_plugin_itself_says_nothing_of_nodes(
    registry: NodeRegistry, project: Project, params: Callable[..., dict[str, Any]], text: str
) -> None:
    """No key in it looks like a class: Hydra's files are called so, too."""
    registry.load_plugin("echo", project(default=text))
    assert params() == {"gain": 1.0, "offset": 0.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Gain:\n  gain: [1\n", r"default\.yaml, line \d"),
        ("- Gain\n", r"default\.yaml, line 1: it must be a mapping of node class to parameters"),
        (
            "Gain: {}\nGian: {gain: 1}\n",
            r"default\.yaml, line 2: 'Gian' is no node class of plugin 'echo'; did you mean 'Gain'",
        ),
        ("nodes:\n  gain: {gain: 1}\n", r"default\.yaml, line 2: 'gain' is no node class of plugin 'echo'"),
        ("\nGain: 2\n", r"default\.yaml, line 2: 'Gain' must be a mapping of parameters, not 2"),
        (
            "Gain:\n  gain: 1\n  ofset: 2\n",
            r"has no parameter 'ofset'; did you mean 'offset'.*\n.*\n.*default\.yaml, line 3: 'ofset'",
        ),
        ("Gain:\n  name: mine\n", r"takes its name.*\n.*\n.*default\.yaml, line 2: 'name'"),
        (
            "Gain: {}\nwith_configs.nodes.Gain: {}\n",
            r"line 2: 'Gain' and 'with_configs\.nodes\.Gain' are the same class",
        ),
        ("Gain: {gain: 1}\nGain: {gain: 2}\n", r"default\.yaml, line 2"),
    ],
)
def test_a_broken_file_is_an_error_with_its_place(
    registry: NodeRegistry, project: Project, params: Callable[..., dict[str, Any]], text: str, message: str
) -> None:
    """File, line and key; what the pipeline itself says does not hide it."""
    registry.load_plugin("echo", project(default=text))
    with pytest.raises(PipelineError, match=message):
        params(gain=1)
