"""Every example in README and docs works, as it stands there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core._yaml import parse_yaml
from cuvis_ai_core.pipeline.file.reader import parse_config
from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest
from cuvis_ai_core.plugins.policy.policy_schema import PolicyFile
from cuvis_ai_core.training import read_trainrun

pytestmark = pytest.mark.usefixtures("quick_collections")

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "hookspecs" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LONG = {
    *("hooks.md", "isolation.md", "plugin-system.md", "python.md", "save-and-restore.md"),
    *("commands.md", "develop-a-plugin.md", "first-plugin.md", "lock-and-carry.md", "manifest.md", "many-cubes.md"),
    *(
        "plugin-cache.md",
        "spectral-toolbox.md",
        "train-a-classifier.md",
        "train.md",
        "use-plugins.md",
        "vet-a-plugin.md",
    ),
}
"""Pages that take more than a second of a processor, but for the README."""
EXAMPLES = sorted(ROOT.glob("example_plugins/*/README.md"))

Blocks = Callable[[Path], list[Any]]


def name_of(page: Path) -> str:
    """Return a page as the tests name it."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow if page.name in LONG else ()) for page in PAGES], ids=name_of
)
def test_a_page_runs_as_it_stands(page: Path, run: Callable[[Path], None]) -> None:
    """Code is executed, commands are run, files are written, and what is printed is what the page says."""
    run(page)


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=name_of)
def test_manifests_and_pipelines_follow_the_rules(page: Path, blocks_of: Blocks, tmp_path: Path) -> None:
    """Those, too, that no code on the page reads; but for the one that shows an error."""
    for block in blocks_of(page):
        if (block.file or "").endswith("configs/default.yaml"):  # node defaults: the page's code reads them
            continue
        data = parse_yaml(block.text).data if block.language == "yaml" and block.file != "wrong.yaml" else {}
        assert isinstance(data, dict)
        if "plugins" in data:
            manifest = tmp_path / "plugins.yaml"
            manifest.write_text(block.text, encoding="utf-8")
            assert len(read_manifest(manifest).plugins) == len(data["plugins"])
        elif "allow" in data:
            assert len(PolicyFile.model_validate(data).allow) == len(data["allow"])
        elif "constraints" in str(data) and not _schemas_know_promises():
            continue  # the oldest ones
        elif "name" in data or "defaults" in data:
            trainrun = tmp_path / "trainrun.yaml"
            trainrun.write_text(block.text, encoding="utf-8")
            assert "defaults" in data or read_trainrun(trainrun).config.name == data["name"]
        elif data:
            parse_config(data)


def _schemas_know_promises() -> bool:
    module = pytest.importorskip("cuvis_ai_schemas.training.data")
    return "constraints" in module.DataSplitConfig.model_fields


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page.parent.name == "old_numpy" else ()) for page in EXAMPLES],
    ids=name_of,
)
def test_an_example_plugin_loads_as_its_readme_says(
    page: Path, blocks_of: Blocks, page_folder: Path, registry: NodeRegistry
) -> None:
    """The manifest in it works from the top folder of a clone, and everything that it provides is there."""
    if "A **torch** plugin" in page.read_text(encoding="utf-8"):
        pytest.importorskip("torch")
    (block,) = (block for block in blocks_of(page) if block.language == "yaml")
    manifest = page_folder / "plugins.yaml"
    manifest.write_text(block.text, encoding="utf-8")
    registry.load_plugins(manifest)
    for plugin in read_manifest(manifest).plugins.values():
        assert all(path in registry.plugin_registry for path in plugin.provides)
