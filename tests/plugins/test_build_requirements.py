"""What it takes to build a project is what its back-end says, asked in an environment of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.errors import BuildError, ProjectFileError
from cuvis_ai_core.plugins.installing.build_requirements import build_requirements
from cuvis_ai_core.plugins.installing.uv_commands import Uv

Files = dict[str, str]

HOOKS = """\
import cuvis_test_needed
def get_requires_for_build_wheel(settings=None):
    open("written", "w").close()
    return ["cuvis-test-wheel"]
def get_requires_for_build_editable(settings=None):
    return ["cuvis-test-editable"]
"""
LEGACY = """\
class __legacy__:
    @staticmethod
    def get_requires_for_build_wheel(settings=None):
        return ["cuvis-test-wheel"]
"""


@pytest.fixture
def asked(tmp_path: Path, write_files: Callable[[Path, Files], Path]) -> Callable[..., list[str]]:
    """Return a function that asks what a project with some files needs to be built."""

    def ask(files: Files, *, editable: bool = False) -> list[str]:
        (tmp_path / "work").mkdir()
        folder = write_files(tmp_path / "project", files)
        found = build_requirements(folder, Uv("echo", tmp_path / "work"), editable=editable)
        assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(files)
        return found

    return ask


@pytest.mark.parametrize("editable", [False, True])
def test_a_back_end_says_what_it_needs(
    asked: Callable[..., list[str]], wheel: Callable[..., None], *, editable: bool
) -> None:
    """For a wheel or for a project that stays where it is, beside what the file says; it writes nothing there."""
    for name in ("needed", "wheel", "editable"):
        wheel(f"cuvis-test-{name}", "1.0", {f"cuvis_test_{name}.py": ""})
    system = '[build-system]\nrequires = ["cuvis-test-needed"]\nbuild-backend = "hooks"\nbackend-path = ["tools"]\n'
    found = asked({"pyproject.toml": system, "tools/hooks.py": HOOKS}, editable=editable)
    assert found == sorted(["cuvis-test-needed==1.0", f"cuvis-test-{'editable' if editable else 'wheel'}==1.0"])


@pytest.mark.parametrize("files", [{"setup.py": ""}, {"pyproject.toml": "[tool.black]\n"}])
def test_without_a_back_end_it_is_setuptools(
    asked: Callable[..., list[str]], wheel: Callable[..., None], files: Files
) -> None:
    """As PEP 517 has it for old projects."""
    wheel("setuptools", "999", {"setuptools/__init__.py": "", "setuptools/build_meta.py": LEGACY})
    wheel("cuvis-test-wheel", "1.0", {"cuvis_test_wheel.py": ""})
    assert asked(files) == ["cuvis-test-wheel==1.0", "setuptools==999"]


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ("[build-system", "cannot be read: "),
        ("build-system = 7", "has a [build-system] that is none"),
        ('[build-system]\nrequires = "x"', "has a [build-system] that is none"),
        ("[build-system]\nrequires = [7]", "has a [build-system] that is none"),
        ('[build-system]\nbackend-path = "x"', "has a [build-system] that is none"),
        ("[build-system]\nbackend-path = [7]", "has a [build-system] that is none"),
        ("[build-system]\nbuild-backend = 7", "has a [build-system] that is none"),
        (
            '[build-system]\nrequires = []\nbuild-backend = "x"\nbackend-path = [".."]',
            "has a backend-path that leads out of the project: ",
        ),
    ],
)
def test_a_build_system_that_is_none_is_an_error(asked: Callable[..., list[str]], system: str, said: str) -> None:
    """It names the file."""
    with pytest.raises(ProjectFileError) as caught:
        asked({"pyproject.toml": system})
    assert caught.value.path is not None
    assert caught.value.path.name == "pyproject.toml"
    assert caught.value.message.startswith(f"{caught.value.path} {said}")


def test_a_back_end_that_is_not_there_is_named(asked: Callable[..., list[str]]) -> None:
    """With whose it is."""
    with pytest.raises(BuildError, match=r"^The build back-end nowhere\.x cannot be asked what it needs: ") as caught:
        asked({"pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "nowhere.x"\n'})
    assert caught.value.plugin == "echo"
