"""Which plugins of a folder of manifests a pipeline and its data module need."""

from pathlib import Path

import pytest
import yaml

from cuvis_ai_core.plugins.manifest_folders import needed_plugins

pytest.importorskip("cuvis_ai_schemas.training.data")
PIPELINE = {"nodes": [{"name": "rx", "class_name": "RXDetector"}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the manifests of two data modules: one whose package is installed here, one that is not."""
    for package in ("numpy", "nowhere_installed"):
        module = {"class_name": f"{package}.Module", "kind": "data_module", "data_module_name": f"of_{package}"}
        manifest = {"name": f"plugin_of_{package}", "path": "x", "capabilities": [module]}
        (tmp_path / f"{package}.yaml").write_text(yaml.safe_dump(manifest), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("data_module", "needed"),
    [(None, []), ("of_nobody", []), ("of_numpy", []), ("of_nowhere_installed", ["plugin_of_nowhere_installed"])],
)
def test_a_plugin_is_needed_for_a_data_module_that_cannot_be_imported(
    folder: Path, data_module: str | None, needed: list[str]
) -> None:
    """One that is installed, or that no plugin has, needs none."""
    assert list(needed_plugins(PIPELINE, [folder], data_module)) == needed
