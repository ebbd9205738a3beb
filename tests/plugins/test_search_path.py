"""What lies on the search path and what of it the host has for plugins, from the names of files."""

import os
import sys
from pathlib import Path

import pytest

from cuvis_ai_core.errors import DependencyConflictError, MissingExtraError
from cuvis_ai_core.plugins.dependencies import host_environment
from cuvis_ai_core.plugins.dependencies.search_path import (
    added_below,
    entries,
    installed_in,
    search_path,
    site_folders,
    top_level_modules,
    without_standard_library,
)


def metadata(folder: Path, name: str, text: str = "") -> None:
    """Write the metadata of a distribution."""
    (folder / name).mkdir(parents=True)
    version = name.rpartition(".")[0].partition("-")[2]
    (folder / name / "METADATA").write_text(f"Metadata-Version: 2.1\nName: x\nVersion: {version}\n{text}")


def test_the_first_on_the_path_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of distributions and of names; what changed is seen; what is not there, and a `Path`, does not count."""
    first, second = tmp_path / "first", tmp_path / "second"
    metadata(first, "My_Dep-1.0.dist-info")
    metadata(second, "my.dep-2.0.dist-info")
    metadata(second, "other-3.0.egg-info")
    metadata(second, "nothing-3.0.info")
    (second / "module.cpython-311.so").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "gone"), str(first), str(second), tmp_path])
    assert entries() == [str(tmp_path / "gone"), str(first), str(second)]
    found = search_path()
    assert (found.version("my-dep"), found.version("other"), found.version("nothing")) == ("1.0", "3.0", None)
    assert set(found.metadata) == {"my-dep", "other"}
    assert found.tops == {"My_Dep-1", "my", "other-3", "nothing-3", "module"}
    distribution = found.distribution("my-dep")
    assert distribution is not None
    assert distribution.version == "1.0"
    assert found.distribution("gone") is None
    metadata(first, "more-1.dist-info")
    os.utime(first, (1, 1))
    assert "more" in search_path().metadata


def test_what_is_installed_a_moment_after_a_listing_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder has the same time before and after, where both fall into one tick of its file system's clock."""
    metadata(tmp_path, "first-1.0.dist-info")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    before = tmp_path.stat()
    assert search_path().version("more") is None
    metadata(tmp_path, "more-1.dist-info")
    os.utime(tmp_path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert search_path().version("more") == "1"


def test_metadata_is_parsed_once_for_each_text(tmp_path: Path) -> None:
    """With requirements and without its description, also of old formats; a text that was replaced is another one."""
    metadata(tmp_path, "x-1.0.dist-info", "Requires-Dist: numpy\n\nName: the description\n\nRequires-Dist: nothing\n")
    (tmp_path / "old-2.0.egg-info").write_text("Metadata-Version: 1.0\nName: old\nVersion: 2.0\n")
    (tmp_path / "half-3.0.dist-info").mkdir()
    first, again = installed_in([str(tmp_path)]), installed_in([str(tmp_path)])
    assert {name: each.version for name, each in first.items()} == {"x": "1.0", "old": "2.0"}
    assert first["x"].requires == ["numpy"]
    assert first["x"].metadata is again["x"].metadata
    (tmp_path / "x-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1.0\n")
    assert installed_in([str(tmp_path)])["x"].requires is None


@pytest.mark.parametrize(
    ("below", "counts"),
    [
        ("site-packages", True),
        ("site-packages/setuptools/_vendor", False),
        ("dist-packages/x", False),
        ("site-packages/x-1.egg", True),
        (".targets/echo@1/key", True),
        (".targets/echo@1/key/x", False),
    ],
)
def test_what_lies_within_a_package_is_that_packages_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    below: str,
    counts: bool,  # noqa: FBT001
) -> None:
    """But for eggs, which are folders of that kind and hold what is installed."""
    metadata(tmp_path / below, "dep-1.dist-info")
    monkeypatch.setattr(sys, "path", [str(tmp_path / below)])
    assert ("dep" in search_path().metadata) is counts


def test_folders_of_installed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their names, where they are there."""
    folders = [tmp_path / name for name in ("a/site-packages", "b/dist-packages", "c/lib", "d/site-packages")]
    for folder in folders[:3]:
        folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", list(map(str, folders)))
    assert site_folders() == list(map(str, folders[:2]))
    before = host_environment.fingerprint()
    (folders[0] / "module.py").touch()
    assert host_environment.fingerprint() == before
    metadata(folders[0], "dep-1.dist-info")
    with_one = host_environment.fingerprint()
    assert with_one != before
    metadata(folders[1], "dep-1.egg-info")
    assert host_environment.fingerprint() != with_one


def test_what_was_put_before_the_standard_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a folder, however it is written, and not what comes behind."""
    (tmp_path / "real/cv2").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    standard = os.path.dirname(os.__file__)  # noqa: PTH120
    inside, behind = f"{tmp_path}/real/cv2", f"{tmp_path}/link/behind"
    monkeypatch.setattr(sys, "path", [inside, f"{tmp_path}/real2", f"{tmp_path}/link/x", standard, behind])
    assert added_below(f"{tmp_path}/link") == [inside, f"{tmp_path}/link/x"]
    assert added_below(f"{tmp_path}/real") == [inside]


def test_modules_of_a_folder(tmp_path: Path) -> None:
    """Files and packages whose names a statement could have; standard ones are nobody's own."""
    for name in (
        "a.py",
        "b.so",
        "c.cpython-311-x86_64-linux-gnu.so",
        "my-script.py",
        "d.txt",
        "e/__init__.py",
        "f/x.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.py").mkdir()
    assert top_level_modules(tmp_path) == {"a", "b", "c", "e"}
    assert top_level_modules(tmp_path / "gone") == set()
    assert without_standard_library(["json", "a"]) == {"a"}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a host environment with some distributions."""
    folder = tmp_path / "site-packages"
    core = "Requires-Dist: pure-one>1\nRequires-Dist: compiled\nRequires-Dist: extra; extra == 'x'\n"
    metadata(folder, "cuvis_ai_core-1.0.dist-info", core)
    metadata(folder, "numpy-2.0.dist-info", "Requires-Dist: numpy\n")
    metadata(folder, "pure.one-1.5.dist-info", "Requires-Dist: Indirect\n")
    metadata(folder, "indirect-4.dist-info")
    metadata(folder, "compiled-1.dist-info")
    metadata(folder, "pydantic-2.dist-info")
    metadata(folder, "extra-1.dist-info")
    metadata(folder, "other-1.dist-info")
    for name, tag in (("pure.one-1.5", "py3-none-any"), ("indirect-4", "py3-none-any"), ("compiled-1", "cp311-x")):
        (folder / f"{name}.dist-info" / "WHEEL").write_text(f"Tag: {tag}\n")
    monkeypatch.setattr(sys, "path", [str(folder)])
    return folder


def test_what_the_core_needs_is_fixed(host: Path) -> None:
    """However indirectly, but for extras; a limit is what crosses, or is not known to be pure."""
    assert host_environment.constraints() == [
        "compiled==1",
        "cuvis-ai-core==1.0",
        "indirect==4",
        "numpy==2.0",
        "pure-one==1.5",
    ]
    assert host_environment.limits() == ["compiled==1", "cuvis-ai-core==1.0", "numpy==2.0"]
    (host / "indirect-4.dist-info" / "WHEEL").unlink()
    assert "indirect==4" in host_environment.limits()


@pytest.mark.parametrize(
    ("requirement", "met"),
    [
        ("other", True),
        ("other>=1", True),
        ("other>1", False),
        ("gone", False),
        ("gone; python_version<'3'", True),
        ("other[x]", False),
        ("other @ https://a.org/other.whl", False),
        ("numpy>=2", True),
        ("numpy[x]", True),
        ("indirect>4", False),
    ],
)
def test_what_the_host_meets(host: Path, requirement: str, met: bool) -> None:  # noqa: FBT001
    """By its version; an extra or an address says more than that."""
    assert host_environment.missing_requirements("echo", (requirement,)) == ([] if met else [requirement])


def test_what_only_the_host_may_have_is_a_conflict(host: Path) -> None:
    """In another version than the host's; torch, which it has not, is an extra of ours."""
    for requirement, where in (
        ("numpy>2", "in the host environment"),
        ("compiled>1", "in the host environment; cuvis-ai-core itself needs it"),
    ):
        with pytest.raises(DependencyConflictError) as caught:
            host_environment.missing_requirements("echo", ("other", requirement))
        assert f"package echo requires {requirement}, but " in caught.value.message
        assert caught.value.message.endswith(f"is installed ({where}).")
    with pytest.raises(MissingExtraError) as missing:
        host_environment.missing_requirements("echo", ("torch",))
    assert (missing.value.extra, missing.value.hint) == ("torch", "pip install 'cuvis-ai-core[torch]'")
    assert missing.value.message.startswith("Plugin package echo needs torch, which is not installed here.")
    with pytest.raises(DependencyConflictError) as refused:
        host_environment.refuse_exchange("echo", ["other", "cuvis-ai-schemas"])
    assert refused.value.message == (
        "Dependency conflict: package echo requires cuvis-ai-schemas, which only the host may have."
    )
    assert refused.value.requirement == "cuvis-ai-schemas"
    host_environment.refuse_exchange("echo", ["other", "pydantic"])


def test_pins_and_requirements_are_compared_by_name(host: Path) -> None:
    """Those of the host, those without a pin, those that uv is asked about, and those with an address."""
    pins = ["other==1", "other==2", "other", "gone==1", "other=="]
    assert [host_environment.has(pin) for pin in pins] == [True, False, False, False, False]
    requirements = ["My_Dep>1", "b", "c @ https://a.org/c"]
    assert host_environment.not_among(requirements, ["my-dep==2", "c @ https://a.org/c"]) == ["b"]
    assert host_environment.without_exchange(("numpy>1", "Cuvis_AI.Core", "b", "pydantic")) == ["b", "pydantic"]
    addressed = host_environment.with_addresses(
        ["c==1", "b==2", "My-Dep==3"], ("C @ https://a.org/c", "b>1", "my_dep @ https://a.org/d")
    )
    assert addressed == ["C @ https://a.org/c", "b==2", "my_dep @ https://a.org/d"]
