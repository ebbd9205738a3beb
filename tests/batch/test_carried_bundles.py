"""A bundle that is carried to another machine is unpacked there once, whoever asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.batch import on_ray
from cuvis_ai_core.batch.job import Job


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the bundles that were unpacked, in a cache that is not there yet."""
    found: list[bytes] = []

    @contextmanager
    def open_bundle(archive: Path, _: object) -> Iterator[Any]:
        content = archive.read_bytes()

        def unpack(folder: Path) -> None:
            found.append(content)
            folder.mkdir()
            (folder / "plugins.yaml").write_bytes(content)

        yield SimpleNamespace(unpack=unpack)

    monkeypatch.setattr("cuvis_ai_core.plugins.bundle.unpacking.open_bundle", open_bundle)
    monkeypatch.setattr(NodeRegistry, "get_cache_dir", lambda: tmp_path / "cache" / "deep")
    return found


def test_it_is_unpacked_once(unpacked: list[bytes], tmp_path: Path) -> None:
    """By its content, and the job has its manifest; nothing but that is left."""
    jobs = [on_ray._carried(Job("p.yaml", manifest="here.yaml"), content) for content in (b"a", b"a", b"b", b"a")]
    assert unpacked == [b"a", b"b"]
    assert [Path(str(job.manifest)).read_bytes() for job in jobs] == [b"a", b"a", b"b", b"a"]
    assert jobs[0] == jobs[1] == jobs[3]
    assert {job.pipeline for job in jobs} == {"p.yaml"}
    assert not list(tmp_path.rglob("*.bundle"))


def test_what_was_begun_and_not_ended_is_begun_anew(unpacked: list[bytes], tmp_path: Path) -> None:
    """A folder without a manifest is none."""
    first = Path(str(on_ray._carried(Job("p.yaml"), b"a").manifest))
    first.unlink()
    first.parent.rmdir()
    assert Path(str(on_ray._carried(Job("p.yaml"), b"a").manifest)) == first
    assert unpacked == [b"a", b"a"]
