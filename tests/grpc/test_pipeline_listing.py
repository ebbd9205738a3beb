"""The pipeline files of a server: found by name or path, described, listed."""

import json
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.server import pipeline_listing
from cuvis_ai_core.grpc.server.allowed_paths import Roots
from cuvis_ai_core.grpc.server.pipeline_listing import find_pipeline, metadata_message, pipeline_info, pipeline_infos

NEW, OLD = (0, 3), (0, 2)


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """Return a folder of configurations."""
    for name, content in {
        "b.yaml": {"name": "named", "nodes": []},
        "a/deep.yml": {"metadata": {"name": "told", "tags": ["x", 1], "author": "me"}, "nodes": []},
        "a/plain.yaml": {"nodes": [], "metadata": "none"},
        "list.yaml": [1],
        "notes.txt": {},
    }.items():
        file = tmp_path / "configs/pipeline" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    (tmp_path / "configs/pipeline/broken.yaml").write_text("a: [")
    (tmp_path / "configs/pipeline/a/deep.pt").touch()
    return tmp_path / "configs"


@pytest.fixture
def roots(configs: Path) -> Roots:
    """Return what may be read."""
    return Roots([configs], [])


@pytest.mark.parametrize(
    ("generation", "listed"),
    [
        (
            NEW,
            [("b.yaml", "named", [], False), ("a/deep.yml", "told", [], False), ("a/plain.yaml", "plain", [], False)],
        ),
        (OLD, [("b", "named", [], False), ("a/deep", "told", ["x", "1"], True), ("a/plain", "plain", [], False)]),
    ],
)
def test_pipelines_are_listed_in_order(configs: Path, roots: Roots, generation: tuple[int, int], listed: Any) -> None:
    """Those of the folder before those of the folders in it; what is no pipeline is left out."""
    found = pipeline_infos(configs, roots, "", generation)
    assert [(each.pipeline_path, each.metadata.name, list(each.tags), each.has_weights) for each in found] == listed
    deep = configs / "pipeline/a/deep.yml"
    assert (found[1].resolved_path, found[1].weights_path) == (str(deep), str(deep.with_suffix(".pt")))
    assert (found[0].weights_path, found[1].yaml_content) == ("", "")


def test_only_those_with_a_tag_are_listed(configs: Path, roots: Roots) -> None:
    """Where one is given."""
    assert [each.metadata.name for each in pipeline_infos(configs, roots, "x", NEW)] == ["told"]
    assert pipeline_infos(configs, roots, "none", NEW) == []


def test_a_listing_has_an_end(configs: Path, roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many files there are."""
    monkeypatch.setattr(pipeline_listing, "_MOST", 4)
    # Two that are none count as well.
    assert [each.pipeline_path for each in pipeline_infos(configs, roots, "", NEW)] == ["b.yaml", "a/deep.yml"]


@pytest.mark.parametrize(
    ("name", "file"),
    [("b.yaml", "b.yaml"), ("b", "b.yaml"), ("a/deep", "a/deep.yml"), ("a/deep.yml", "a/deep.yml"), ("a..b", None)],
)
def test_a_pipeline_is_found_by_path_or_name(configs: Path, roots: Roots, name: str, file: str | None) -> None:
    """Below the folder of pipelines."""
    if file is not None:
        assert find_pipeline(configs, roots, name) == configs / "pipeline" / file
        return
    with pytest.raises(ServiceError) as caught:
        find_pipeline(configs, roots, name)
    assert caught.value.code == "NOT_FOUND"


@pytest.mark.parametrize("name", ["", " ", "/b.yaml", "a\\b", "b\0", "../b.yaml", "a/../b.yaml"])
def test_what_is_no_path_below_the_folder_is_refused(configs: Path, roots: Roots, name: str) -> None:
    """Before anything is looked for."""
    with pytest.raises(ServiceError, match="is no path of a pipeline") as caught:
        find_pipeline(configs, roots, name)
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(("name", "message"), [("list.yaml", "'list.yaml' is no pipeline file."), ("broken.yaml", "")])
def test_what_is_no_pipeline_file_is_told(configs: Path, roots: Roots, name: str, message: str) -> None:
    """To who asks for it alone."""
    with pytest.raises(ServiceError) as caught:
        pipeline_info(configs / "pipeline" / name, configs, roots, NEW)
    assert (caught.value.code, caught.value.message) == ("INVALID_ARGUMENT", message or caught.value.message)


def test_the_content_is_told_where_it_is_asked_for(configs: Path, roots: Roots) -> None:
    """As it stands in the file."""
    file = configs / "pipeline/b.yaml"
    assert pipeline_info(file, configs, roots, NEW, content=True).yaml_content == file.read_text()


def test_what_a_pipeline_says_about_itself_is_text() -> None:
    """Other keys, and tags that are no list, are left out."""
    found = metadata_message({"name": 1, "author": None, "description": "d", "tags": "x", "more": 2, "created": "now"})
    assert (found.name, found.author, found.description, found.created, list(found.tags)) == ("1", "", "d", "now", [])
    assert list(metadata_message({"tags": [1, "b"]}).tags) == ["1", "b"]
