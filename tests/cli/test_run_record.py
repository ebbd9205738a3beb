"""What a record says of a cube, of files and of nodes, and what a pipeline is given of a cube."""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.data import Cube
from cuvis_ai_core.results.cube_inputs import published_inputs
from cuvis_ai_core.results.run_record import cube_record, input_record, node_records, run_record

DATA = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
WAVELENGTHS = np.array([500.0, 600, 700, 800])


def test_a_cube_is_known_by_its_values_and_wavelengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what places it, and what its reader met; a relative path is told in full."""
    monkeypatch.chdir(tmp_path)
    cube = Cube(DATA, WAVELENGTHS, crs="EPSG:4326", transform=(1.0, 2, 3, 4, 5, 6), remarks=("odd",))
    found = cube_record(Path("scene.npy"), cube)
    digest = hashlib.sha256(DATA.tobytes() + WAVELENGTHS.tobytes()).hexdigest()
    assert found == {
        "file": str(tmp_path / "scene.npy"),
        "shape": [2, 3, 4],
        "dtype": "uint16",
        "sha256": digest,
        "crs": "EPSG:4326",
        "transform": [1, 2, 3, 4, 5, 6],
        "remarks": ["odd"],
    }
    plain = cube_record(Path("scene.npy"), Cube(DATA))
    assert plain["sha256"] == hashlib.sha256(DATA.tobytes()).hexdigest()
    assert {"crs", "transform"}.isdisjoint(plain)


def test_files_and_outputs_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When, by which version, of which content."""
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_bytes(b"nodes: []")
    about = input_record(Path("p.yaml"))
    assert about == {"file": str(tmp_path / "p.yaml"), "sha256": hashlib.sha256(b"nodes: []").hexdigest()}
    record = run_record({"pipeline": about, "plugins": None}, [{"name": "n"}], [{"file": "x"}], [{"node": "m"}])
    assert list(record) == ["date", "core", "pipeline", "plugins", "nodes", "files", "left_out"]
    assert record["core"] == {"distribution": "cuvis-ai-core", "version": record["core"]["version"]}
    assert (record["nodes"], record["files"], record["left_out"]) == ([{"name": "n"}], [{"file": "x"}], [{"node": "m"}])
    assert datetime.fromisoformat(record["date"]).utcoffset() is not None


def test_nodes_are_recorded_in_running_order() -> None:
    """Each with its class and where that comes from."""
    nodes = [{"name": "mask", "class_name": "QuantileDecider"}, {"name": "rx", "class_name": "RXDetector"}]
    edges = [{"source": "rx.scores", "target": "mask.scores"}]
    with NodeRegistry(discover=False) as registry:
        pipeline = Pipeline.from_dict({"nodes": nodes, "edges": edges}, node_registry=registry)
        rows = node_records(registry, pipeline)
    nothing = dict.fromkeys(("plugin", "tag", "commit", "repo", "path"))
    assert [row["name"] for row in rows] == ["rx", "mask"]
    assert rows[0] == {
        "name": "rx",
        "class": "cuvis_ai_core.builtin.anomaly.RXDetector",
        "kind": "builtin",
        "distribution": "cuvis-ai-core",
        "version": rows[0]["version"],
        **nothing,
    }


def test_what_a_pipeline_is_given_of_a_cube(tmp_path: Path) -> None:
    """Its image and wavelengths, its number in the file, and the masks of a COCO file."""
    cube = Cube(DATA, WAVELENGTHS, source=tmp_path / "scene.npy", index=1)
    given = published_inputs(cube)
    assert list(given) == ["mesu_index", "cube", "wavelengths"]
    assert (given["mesu_index"].dtype, given["mesu_index"].tolist()) == (np.int64, [1])
    coco: dict[str, Any] = {
        "images": [{"id": number, "height": 2, "width": 3, "file_name": f"{number}.png"} for number in range(2)],
        "categories": [{"id": 7, "name": "stone"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}],
    }
    (tmp_path / "scene.json").write_text(json.dumps(coco))
    mask = published_inputs(cube, tmp_path / "scene.json")["mask"]
    assert (mask.dtype, mask.tolist()) == (np.int32, [[[7, 7, 0], [7, 7, 0]]])
