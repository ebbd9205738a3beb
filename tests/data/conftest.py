"""The vendor's package `cuvis` is real in tests; the compiled binding beneath it is `tests/projects/cubert_binding`."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from threading import Timer
from types import ModuleType
from typing import Any

import filelock
import pytest

from cuvis_ai_core.cli.downloads.command_parts import ForPeople
from cuvis_ai_core.data.formats import cu3s

sys.path.append(str(Path(__file__).parent))  # for `loopback_hub`


def _forget_sdk() -> None:
    cu3s._started_sdk.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in {"cuvis", "cuvis_il"}]:
        del sys.modules[name]


@pytest.fixture
def fresh_sdk() -> Iterator[None]:
    """Have the vendor's package imported and started anew by this test, and by the next."""
    _forget_sdk()
    yield
    gc.collect()
    _forget_sdk()


@pytest.fixture
def native(fresh_sdk: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Let the SDK start, and give its binding."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "projects" / "cubert_binding")
    monkeypatch.setenv("CUVIS", str(tmp_path))
    monkeypatch.setenv("PATH", os.environ["PATH"])
    return import_module("cuvis_il")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serve a hub in which nothing is yet, to the real library, in this process and in those that it starts."""
    pytest.importorskip("huggingface_hub")
    constants = pytest.importorskip("huggingface_hub.constants")
    downloads = pytest.importorskip("huggingface_hub.file_download")
    for name in ("HF_HUB_OFFLINE", "CUVIS_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with import_module("loopback_hub").loopback_hub() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.endpoint)
        monkeypatch.setattr(constants, "ENDPOINT", served.endpoint)
        template = served.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        for each in (constants, downloads):
            monkeypatch.setattr(each, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        yield served


@pytest.fixture
def working_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], AbstractContextManager[None]]:
    """Return what has another program work in a folder, until somebody is told that they wait for it."""

    @contextmanager
    def working(folder: Path) -> Iterator[None]:
        lock = filelock.FileLock(folder / ".cuvis-cache.lock", thread_local=False)
        say = ForPeople.waiting

        def wait(told: ForPeople) -> None:
            say(told)
            lock.release()

        monkeypatch.setattr(ForPeople, "waiting", wait)
        lock.acquire()
        unheard = Timer(30, lock.release)
        unheard.start()
        try:
            yield
        finally:
            unheard.cancel()
            lock.release()

    return working
