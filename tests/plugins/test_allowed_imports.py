"""Which modules a file may name so that they are imported: those that somebody installed."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from cuvis_ai_core.plugins import allowed_imports
from cuvis_ai_core.plugins.allowed_imports import is_importable, place_of_package

Files = dict[str, str]
Write = Callable[[Path, Files], Path]


def info(name: str, direct: object = None) -> Files:
    """Return the metadata of a distribution, with what is told of where it came from."""
    files = {f"{name}-1.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"}
    if direct is not None:
        text = direct if isinstance(direct, str) else json.dumps(direct)
        files[f"{name}-1.dist-info/direct_url.json"] = text
    return files


def test_only_what_is_installed_may_be_imported_by_a_file(
    tmp_path: Path, write_files: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it lies, in the folder of an editable install, or on PYTHONPATH; not what merely lies on the path."""
    kind = uuid4().hex
    names = {place: f"{place}_{kind}" for place in ("site", "edited", "plain", "user", "elsewhere")}
    for place, name in names.items():
        write_files(tmp_path / f"{place} folder", {f"{name}.py": "", f"{name}_pkg/__init__.py": ""})
        monkeypatch.syspath_prepend(tmp_path / f"{place} folder")
    write_files(
        tmp_path / "site folder",
        info("told-nothing")
        | info("broken", "{")
        | info("odd", [])
        | info("no-address", {"dir_info": {"editable": True}})
        | info("plain", {"url": (tmp_path / "plain folder").as_uri(), "dir_info": {}})
        | info("edited", {"url": (tmp_path / "edited folder").as_uri(), "dir_info": {"editable": True}}),
    )
    monkeypatch.setattr(
        allowed_imports, "_site_folders", lambda: frozenset({os.path.realpath(tmp_path / "site folder")})
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(tmp_path / "user folder")]))
    found = {place for place, name in names.items() if is_importable(name)}
    assert found == {"site", "edited", "user"}
    assert {place for place, name in names.items() if is_importable(f"{name}_pkg.part")} == found
    assert place_of_package(f"{names['plain']}.x") == str(tmp_path / "plain folder" / f"{names['plain']}.py")
    assert place_of_package(f"{names['site']}_pkg.x") == str(tmp_path / "site folder" / f"{names['site']}_pkg")


def test_what_is_imported_or_ours_may_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """But no program; what is not there has no place."""
    assert is_importable("json")
    assert is_importable("cuvis_ai_core.anything")
    assert not is_importable("cuvis_ai_core.__main__")
    assert not is_importable("__main__")
    missing = f"missing_{uuid4().hex}"
    assert (is_importable(missing), place_of_package(missing)) == (False, None)
    monkeypatch.setitem(sys.modules, missing, object())
    assert is_importable(missing)
    assert place_of_package(missing) is None
