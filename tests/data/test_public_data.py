"""Public data sets and weights of models: what there is is known without a connection."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cuvis_ai_core.data.model_weights import ModelWeights, index_json
from cuvis_ai_core.data.public_datasets import PublicDatasets, download_data_cli
from cuvis_ai_core.errors import ManifestError


def dataset(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command, and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["dataset", *arguments])
    with pytest.raises(SystemExit) as ended:
        download_data_cli()
    return int(ended.value.code or 0)


def test_what_there_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Is listed, and whether it was fetched."""
    assert dataset(monkeypatch, "list") == 0
    assert "cubert-gmbh/XMR_Lentils" in capsys.readouterr().out
    assert dataset(monkeypatch, "status", "--data-dir", str(tmp_path)) == 0
    assert capsys.readouterr().out.count("not fetched") == len(PublicDatasets.list_specs())
    assert dataset(monkeypatch, "download", "Lentlis") == 2
    assert "Did you mean 'Lentils'" in capsys.readouterr().err


def test_without_a_connection_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Nothing counts as fetched; with one, what was fetched is marked."""
    hub: Any = ModuleType("huggingface_hub")

    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("Name or service not known")

    hub.snapshot_download = offline
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    arguments = ("download", "lentils", "--data-dir", str(tmp_path))
    assert dataset(monkeypatch, *arguments) == 1
    told = capsys.readouterr().err
    assert "'Lentils' (cubert-gmbh/XMR_Lentils) cannot be fetched: ConnectionError: Name or service" in told
    assert "Traceback" not in told
    spec = PublicDatasets.get("Lentils")
    assert not PublicDatasets.is_there(spec, tmp_path)
    hub.snapshot_download = lambda *_, local_dir, **__: Path(local_dir).mkdir(parents=True)
    assert dataset(monkeypatch, *arguments) == 0
    assert PublicDatasets.is_there(spec, tmp_path)


def test_without_the_extra_it_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As for all that is optional."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert dataset(monkeypatch, "download", "Lentils", "--data-dir", str(tmp_path)) == 1
    assert "cuvis-ai-core[hub]" in capsys.readouterr().err


def test_the_index_of_weights(tmp_path: Path) -> None:
    """Lists what manifests name, sorted; two of one name are refused, and nothing is kept."""
    (tmp_path / "b.yaml").write_text("name: b\nweights:\n- {name: z, used_for: [Backbone]}\n- {name: y}\n")
    (tmp_path / "a.yaml").write_text("name: a\nrepo: x\n")
    ModelWeights.reset()
    ModelWeights.load_manifests([tmp_path])
    payload = ModelWeights.list_payload()
    assert [(row["name"], row["plugin"], row["source"]) for row in payload["models"]] == [
        ("y", "b", "manifest"),
        ("z", "b", "manifest"),
    ]
    assert payload["used_for_labels"][-1] == "Trained pipeline"
    assert json.loads(index_json(payload)) == payload
    (tmp_path / "c.yaml").write_text("name: c\nweights:\n- {name: z}\n")
    ModelWeights.reset()
    with pytest.raises(ManifestError, match="'z' are named twice"):
        ModelWeights.load_manifests([tmp_path])
    assert ModelWeights.list_payload()["models"] == []


def test_a_row_has_what_programs_read(tmp_path: Path) -> None:
    """What a manifest leaves out stands there as nothing; size, folder and default follow from the rest."""
    (tmp_path / "a.yaml").write_text(
        "name: belt\nweights:\n- name: small\n  repo_id: lab/Belt\n  filename: small.pt\n  size_bytes: 5\n"
        "  aux_files: [{path: c.json, size_bytes: 2}]\n  used_for: [Belts]\n"
        "- {name: tall, family: big, selected_by: size, default: true}\n- {name: wide, selected_by: size}\n"
    )
    ModelWeights.reset()
    ModelWeights.load_manifests([tmp_path])
    payload = ModelWeights.list_payload()
    small, tall, wide = payload["models"]
    assert (small["total_bytes"], small["cache_dir_name"], small["family"]) == (7, "models--lab--Belt", "Belt")
    assert (small["kind"], small["license_file"], small["aliases"], small["pin_mismatch"]) == (
        "weights",
        None,
        [],
        False,
    )
    assert (tall["family"], tall["cache_dir_name"]) == ("big", None)
    assert [row["plugin_default"] for row in (small, tall, wide)] == [True, True, False]
    assert payload["used_for_labels"][-1] == "Belts"
    assert list(small) == list(tall)
    (tmp_path / "a.yaml").write_text("name: belt\nweights:\n- {name: small, aux_files: 3}\n")
    ModelWeights.reset()
    with pytest.raises(ManifestError, match="'used_for', 'aux_files' and 'aliases' are lists"):
        ModelWeights.load_manifests([tmp_path])
