"""`cuvis-ai plugins add`, `remove` and `try`."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from cuvis_ai_core.registry import NodeRegistry
from cuvis_ai_core.testing import GitHost, small_scene

Shell = Callable[..., Result]

POINT = '[project.entry-points."cuvis_ai.nodes"]\nEcho = "echo_plugin.nodes:Echo"\n'


def test_the_newest_tag_is_added_locked_and_loads(shell: Shell, git_plugin: Callable[..., str]) -> None:
    """What it provides is read from its project; the comments of the manifest stay."""
    url = git_plugin("1.0.0", "1.2.0", "2.0.0rc1", extra=POINT)
    Path("plugins.yaml").write_text("# what we use\nplugins:\n  # none yet\n", encoding="utf-8")
    found = shell("cuvis-ai", "plugins", "add", url)
    assert found.exit_code == 0, found.stderr
    (name,) = [line.split("'")[1] for line in found.stdout.splitlines() if line.startswith("Added ")]
    text = Path("plugins.yaml").read_text(encoding="utf-8")
    assert text.startswith("# what we use\nplugins:\n")
    assert "  # none yet\n" in text
    assert f"    repo: {url}\n    tag: v1.2.0\n    provides: [echo_plugin.nodes.Echo]\n" in text
    assert "v1.2.0" in Path("plugins.lock").read_text(encoding="utf-8")
    with NodeRegistry(discover=False) as registry:
        assert registry.load_plugins("plugins.yaml") == 1
        assert registry.get("Echo").VERSION == "1.2.0"  # type: ignore[attr-defined]
    again = shell("cuvis-ai", "plugins", "add", f"{url}@v1.0.0")
    assert again.exit_code == 2
    assert f"plugins.yaml has a plugin '{name}' already." in again.stderr
    assert f"cuvis-ai plugins update {name}" in again.stderr
    other = shell("cuvis-ai", "plugins", "add", f"{url}@v1.0.0", "--name", "older")
    assert other.exit_code == 0, other.stderr
    taken = shell("cuvis-ai", "plugins", "remove", name)
    assert taken.stdout.endswith(f"Took '{name}' out of plugins.yaml.\n")
    assert "v1.2.0" not in Path("plugins.lock").read_text(encoding="utf-8")
    assert shell("cuvis-ai", "plugins", "remove", "older").exit_code == 0
    assert not Path("plugins.lock").exists()


def test_a_folder_is_added_relative_to_the_manifest(shell: Shell, local_plugin: Callable[..., Path]) -> None:
    """So that both can be moved together; a manifest that is not there is made."""
    local_plugin()
    found = shell("cuvis-ai", "plugins", "add", "../echo", "--manifest", "our/plugins.yaml")
    assert found.exit_code == 0, found.stderr
    assert "    path: ../../echo\n" in Path("our/plugins.yaml").read_text(encoding="utf-8")


def test_nothing_is_written_where_it_cannot_be_locked(shell: Shell, local_plugin: Callable[..., Path]) -> None:
    """As where a requirement cannot be met; a dry run writes nothing either."""
    local_plugin(dependencies=("numpy<1",))
    found = shell("cuvis-ai", "plugins", "add", "../echo")
    assert found.exit_code == 1
    assert "numpy<1" in found.stderr
    local_plugin("other", package="other_plugin")
    dry = shell("cuvis-ai", "plugins", "add", "../other", "--dry-run")
    assert dry.exit_code == 0, dry.stderr
    assert "Would add 'other_plugin'" in dry.stdout
    assert list(Path().iterdir()) == []


def test_a_folder_in_place_of_the_manifest_is_told(shell: Shell, local_plugin: Callable[..., Path]) -> None:
    """As by the other commands; and a source that is none names no option that this command lacks."""
    local_plugin()
    Path("folder").mkdir()
    found = shell("cuvis-ai", "plugins", "add", "../echo", "--manifest", "folder")
    assert (found.exit_code, found.stderr) == (2, "Error: folder: this is a folder; give the path of a file\n")
    found = shell("cuvis-ai", "plugins", "add", "nope")
    assert "cuvis-ai plugins check NAME --plugins-path MANIFEST" in found.stderr


def test_what_has_no_node_or_no_version_is_told(shell: Shell, git_host: GitHost) -> None:
    """With the next step."""
    url = git_host.add("empty", {"pyproject.toml": '[project]\nname = "empty"\nversion = "1"\n'}, tag="nightly")
    found = shell("cuvis-ai", "plugins", "add", url)
    assert found.exit_code == 1
    assert "has no tag that is a version; its tags: nightly." in found.stderr
    assert "Name one of its tags: URL@TAG" in found.stderr
    found = shell("cuvis-ai", "plugins", "add", f"{url}@nightly")
    assert found.exit_code == 2
    assert f"cuvis-ai plugins check {url}@nightly" in found.stderr


TRIED = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode, PortSpec

CUBE = PortSpec(np.floating, (-1, -1, -1, -1))


class Half(ArrayNode):
    INPUT_SPECS = {"cube": CUBE}
    OUTPUT_SPECS = {"cube": CUBE}

    def forward(self, cube):
        return {"cube": cube / 2}


class Wrong(Half):
    def forward(self, cube):
        return {"cube": {}["red"]}


class Asks(Half):
    def __init__(self, gain, **kwargs):
        super().__init__(gain=gain, **kwargs)
"""


@pytest.mark.parametrize("source", ["folder", "tag"])
def test_a_plugin_is_tried_on_a_small_real_cube(
    shell: Shell, local_plugin: Callable[..., Path], git_host: GitHost, source: str
) -> None:
    """Each node with its ports and what came out; one that fails does not hinder the others, and is exit status 1."""
    folder = local_plugin(package="tried", folder="tried")
    (folder / "src/tried/nodes.py").write_text(TRIED, encoding="utf-8")
    target = git_host.add("tried", folder, tag="v0.1.0") if source == "tag" else folder
    found = shell("cuvis-ai", "plugins", "try", target)
    assert "Half   cube: floating [*, *, *, *]  cube: floating [*, *, *, *]" in found.stdout
    assert "On 20 x 16 pixels of 200 bands" in found.stdout
    half = np.asarray(small_scene().data) / 2
    assert f"cube: float32 1 x 20 x 16 x 200, {half.min():.4g} to {half.max():.4g}" in found.stdout
    assert "Asks   -" in found.stdout
    assert "not run: it needs gain" in found.stdout
    assert "KeyError: 'red'" in found.stdout
    assert "nodes.py, line 17" in found.stdout
    assert found.exit_code == 1
    assert not Path("plugins.yaml").exists()


def test_a_plugin_is_tried_on_a_cube_of_ones_own(shell: Shell, local_plugin: Callable[..., Path]) -> None:
    """With the readers that plugins have."""
    folder = local_plugin()
    np.save("cube.npy", np.full((3, 2, 4), 7, np.float32))
    found = shell("cuvis-ai", "plugins", "try", folder, "--cube", "cube.npy")
    assert "On 3 x 2 pixels of 4 bands" in found.stdout
    assert "cube: float32 1 x 3 x 2 x 4, 7 to 7" in found.stdout
    assert found.exit_code == 0


ODD = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode, PortSpec

CUBE = PortSpec(np.floating, (-1, -1, -1, -1))


class Gappy(ArrayNode):
    INPUT_SPECS = {"cube": CUBE}
    OUTPUT_SPECS = {"one": CUBE, "all": CUBE, "count": PortSpec("any", ()), "words": PortSpec("any", ())}

    def forward(self, cube):
        one = cube.copy()
        one[0, 0, 0, 0] = np.nan
        return {"one": one, "all": cube * np.nan, "count": np.int64(3), "words": "text"}


class Band(ArrayNode):
    INPUT_SPECS = {
        "band": PortSpec(np.float32, (-1, -1, -1, 1)),
        "wavelengths": PortSpec(np.float64, (-1,)),
        "mask": PortSpec(np.bool_, (-1, -1, -1)),
        "more": PortSpec(np.floating, (-1,), optional=True),
    }
    OUTPUT_SPECS = {"sizes": PortSpec("any", (-1,)), "band": PortSpec(np.float32, (-1, -1, -1, 1))}

    def forward(self, band, wavelengths, mask, more=None):
        return {"sizes": np.array([*wavelengths[[0, -1]], mask.size, more is None]), "band": band}


class Quiet(ArrayNode):
    INPUT_SPECS = {"cube": CUBE}
    OUTPUT_SPECS = {}

    def forward(self, cube):
        return {}


class Free(Quiet):
    def __init__(self, *args, **kwargs):
        super().__init__(**kwargs)


class Choosy(Quiet):
    def __init__(self, gain=None, **kwargs):
        raise ValueError("give a gain, or a file")


class Later(Quiet):
    async def forward(self, cube):
        return {}


class Breaks(Quiet):
    def __init__(self, gain=None, **kwargs):
        {}["gain"]  # here
"""


def test_what_came_out_of_odd_nodes_is_told(shell: Shell, local_plugin: Callable[..., Path]) -> None:
    """Values that are missing, single or no numbers; inputs of one band; and nodes that need or answer nothing."""
    folder = local_plugin(package="odd", folder="odd")
    (folder / "src/odd/nodes.py").write_text(ODD, encoding="utf-8")
    values = np.arange(24, dtype=np.float32).reshape(3, 2, 4) + 1
    np.savez("cube.npz", cube=values, wavelengths=np.array([500.0, 600, 700, 801]))
    found = shell("cuvis-ai", "plugins", "try", folder, "--cube", "cube.npz")
    assert found.exit_code == 1
    text = re.sub(r"\b\d+\.\d ms", "T", found.stdout)
    for words in (
        "one: float32 1 x 3 x 2 x 4, 2 to 24, 1 NaN",
        "all: float32 1 x 3 x 2 x 4, not a number\n",
        "count: int64 one value, 3 to 3",
        "words: str",
        "sizes: float64 4, 1 to 801",
        "band: float32 1 x 3 x 2 x 1, 1 to 21",
    ):
        assert words in text, text
    shown = [" ".join(line.split()) for line in text.splitlines()]
    assert "Quiet T nothing in the stage 'inference'" in shown
    assert "Free T nothing in the stage 'inference'" in shown
    assert "Choosy - not run: give a gain, or a file" in shown
    assert any(line.startswith("Later failed ") and "'forward' that is 'async'" in line for line in shown)
    assert any(line.startswith("Breaks failed KeyError: 'gain'") for line in shown)


NODE = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec


class Leaf(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1), "A cube.")}
    OUTPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1), "The same.")}

    def forward(self, cube):
        return {"cube": cube}
"""

FILES = {
    "plugins/leaf/pyproject.toml": (
        '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n'
        '[project]\nname = "leaf-plugin"\nversion = "1.0.0"\n'
    ),
    "plugins/leaf/src/leaf_plugin/__init__.py": "",
    "plugins/leaf/src/leaf_plugin/nodes.py": NODE,
    "README.md": "Several projects.\n",
}


@pytest.mark.slow
def test_a_project_below_the_top_is_added_as_pip_spells_it(shell: Shell, git_host: GitHost) -> None:
    """`git+URL@TAG#subdirectory=FOLDER`, with a name before it or not, and with `#egg`; then it loads."""
    url = git_host.add("several", FILES, tag="v1.0.0")
    spelled = f"leaf-plugin @ git+{url}@v1.0.0#egg=leaf&subdirectory=plugins/leaf"
    found = shell("cuvis-ai", "plugins", "add", spelled, "--name", "leaf")
    assert found.exit_code == 0, found.stderr
    text = Path("plugins.yaml").read_text(encoding="utf-8")
    assert f"    repo: {url}\n    tag: v1.0.0\n    subdirectory: plugins/leaf\n" in text
    with NodeRegistry(discover=False) as registry:
        assert registry.load_plugins("plugins.yaml") == 1
    checked = shell("cuvis-ai", "plugins", "check", f"{url}#subdirectory=plugins/leaf", "--no-run")
    assert "leaf-plugin: 0 errors" in checked.stdout


@pytest.mark.parametrize(
    ("fragment", "text"),
    [
        ("", "The top folder of URL v1.0.0 holds no project.\nName one of those in it: URL@TAG#subdirectory=FOLDER; "),
        ("#subdirectory=plugins", "plugins of URL v1.0.0 holds no project.\n"),
        ("#subdirectory=leaf", "The subdirectory 'leaf' of URL v1.0.0 does not exist.\n"),
        ("#subdirectory=../x", "has a '..' in it"),
        (
            "#plugins/leaf",
            "'#plugins/leaf' says nothing of a repository.\nWrite URL@TAG, and for a project in a folder",
        ),
    ],
)
def test_where_the_project_is_not_those_that_are_there_are_named(
    shell: Shell, git_host: GitHost, fragment: str, text: str
) -> None:
    """Nothing is written."""
    name = f"several-{fragment.encode().hex()}"
    url = git_host.add(name, FILES, tag="v1.0.0")
    found = shell("cuvis-ai", "plugins", "add", f"{url}{fragment}")
    assert found.exit_code in {1, 2}
    assert text.replace("URL v", f"{url} v") in found.stderr
    assert not Path("plugins.yaml").exists()
