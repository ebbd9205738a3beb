"""Public data sets: what there is is known without a connection."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cuvis_ai_core.data.public_datasets import PublicDatasets, download_data_cli


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
