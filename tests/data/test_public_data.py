"""Public data sets and weights of models: what there is is known without a connection."""

import hashlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cuvis_ai_core.data.model_weights import ModelWeights, download_model_cli, index_json
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


CONTENT = b"trained"


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """Return a folder with the manifest of a plugin that needs weights, with a file beside them."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "belt.yaml").write_text(
        "name: belt\nweights:\n- name: small\n  repo_id: lab/Belt\n  filename: small.pt\n  revision: abc\n"
        f"  size_bytes: 7\n  sha256: {hashlib.sha256(CONTENT).hexdigest()}\n  aliases: [tiny]\n"
        "  aux_files: [{path: c.json, size_bytes: 2}]\n- {name: tall, repo_id: lab/Tall, filename: t.pt, revision: d}\n"
    )
    return tmp_path / "manifests"


@pytest.fixture
def weights(
    manifests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Return a function that runs `download-model`, and returns its status and what it said."""

    def run(*arguments: str) -> tuple[int, str]:
        more = ("--plugins-dir", str(manifests))
        cache = () if arguments[0] == "list" else ("--cache-dir", str(tmp_path / "hub"))
        monkeypatch.setattr(sys, "argv", ["download-model", *arguments, *more, *cache])
        with pytest.raises(SystemExit) as ended:
            download_model_cli()
        return int(ended.value.code or 0), "".join(capsys.readouterr())

    return run


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stand in for `huggingface_hub`: files of a repository are put where it puts them."""
    fake: Any = ModuleType("huggingface_hub")
    fake.content = CONTENT

    def download(repo_id: str, filename: str, *, revision: str, cache_dir: str, **_: Any) -> str:
        path = Path(cache_dir) / f"models--{repo_id.replace('/', '--')}" / "snapshots" / str(revision) / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(fake.content)
        return str(path)

    fake.hf_hub_download = download
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    return fake


def test_weights_are_listed_and_fetched(weights: Any, hub: Any, tmp_path: Path) -> None:
    """By the published command, and their state is told; what was changed since is damaged."""
    assert "lab/Belt/small.pt" in weights("list")[1]
    assert [row["name"] for row in json.loads(weights("list", "--json")[1])["models"]] == ["small", "tall"]
    states = [row["state"] for row in json.loads(weights("status", "--json")[1])["models"]]
    assert states == ["absent", "absent"]
    code, told = weights("download", "tiny", "--out", str(tmp_path / "copy.pt"))
    assert (code, (tmp_path / "copy.pt").read_bytes()) == (0, CONTENT), told
    (row,) = json.loads(weights("status", "small", "--verify", "--json")[1])["models"]
    assert (row["state"], row["size_ok"], row["sha256_ok"], row["aux_ok"]) == ("present", True, True, True)
    Path(row["path"]).write_bytes(b"changed")
    assert "small                              present" in weights("status", "small")[1]
    assert "small                              damaged" in weights("status", "small", "--verify")[1]
    code, told = weights("download", "--repo-id", "lab/Own", "--filename", "own.pt")
    assert (code, "models--lab--Own" in told) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("download", "smal"), 2, "Did you mean 'small'"),
        (("download",), 2, "Give names of weights"),
        (("download", "small", "tall", "--out", "x"), 2, "--out is for one file"),
        (("download", "small"), 1, "has another SHA-256"),
    ],
)
def test_what_is_wrong_with_weights_is_said(
    weights: Any, hub: Any, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """In one error, also where what came is not what the manifest means."""
    hub.content = b"somebody else's"
    ended, told = weights(*arguments)
    assert (ended, words in told) == (code, True), told


def test_weights_without_the_extra_or_a_connection(weights: Any, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, with what to do."""

    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("Name or service not known")

    hub.hf_hub_download = offline
    assert "cannot be fetched: ConnectionError" in weights("download", "small")[1]
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "cuvis-ai-core[hub]" in weights("download", "small")[1]


@pytest.mark.parametrize(
    "row",
    [
        *('name: "a\\e]52;c;x\\a"', "name: a, filename: ../../../../etc/passwd", "name: a, filename: /etc/passwd"),
        *("name: a, revision: ..", "name: a, filename: 'b\\..\\..\\c'", "name: a, filename: 'C:c'", "name: [a]"),
        *("name: a, aux_files: [{filename: ../b}]", "name: a, aux_files: [{path: 3}]", "name: a, repo_id: 5"),
        *("name: a, aux_files: [{filename: b, size_bytes: x}]", "name: a, aliases: [[b]]", "name: a, used_for: [5]"),
        f"name: a, size_bytes: 1{'0' * 30}",
    ],
)
def test_weights_of_a_stranger_are_files_of_their_repository(tmp_path: Path, row: str) -> None:
    """They name nothing elsewhere, steer no terminal, and end no program."""
    (tmp_path / "x.yaml").write_text(f"weights:\n- {{{row}}}\n")
    with pytest.raises(ManifestError, match="paths within their repository"):
        ModelWeights.load_manifests([tmp_path])
