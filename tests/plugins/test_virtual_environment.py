"""What comes into the environment of a plugin with a process of its own, as it is asked of uv."""

import importlib.metadata
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import (
    BuildError,
    DependencyConflictError,
    DependencyNotFoundError,
    InstallError,
    LockError,
    ProjectFileError,
)
from cuvis_ai_core.plugins.cache.checkout_entry import complete, identity
from cuvis_ai_core.plugins.cache.environment_entry import Environment, write_environment
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.installing import host_wheels
from cuvis_ai_core.plugins.installing.install_request import Choice
from cuvis_ai_core.plugins.installing.uv_commands import Uv
from cuvis_ai_core.plugins.installing.virtual_environment import EnvironmentInstallation
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin

Files = dict[str, str]
Make = Callable[..., EnvironmentInstallation]

PACKAGES = "lib/python3.12/site-packages"
ADDRESS = "far @ https://host/far-1-py3-none-any.whl"
SCHEMAS = f"cuvis-ai-schemas=={importlib.metadata.version('cuvis-ai-schemas')}"

told: list[tuple[Any, ...]] = []
"""What was asked of uv."""

answers: dict[str, Any] = {}
"""What it answers, by what it is asked."""


class FakeUv(Uv):
    """Installs metadata alone, and tells what it was asked."""

    def make_environment(self, folder: Path, version: str | None = None) -> Path:
        """Make the folders of one, with what old installers leave there."""
        told.append(("environment", version))
        (folder / PACKAGES).mkdir(parents=True, exist_ok=True)
        (folder / PACKAGES / "_virtualenv.pth").touch()
        return folder / "bin/python"

    def build_wheel(self, project: Path, *, version: str | None, python: Path | None = None) -> Path:
        """Note for which Python."""
        told.append(("wheel", python and python.name))
        return project / "Echo_Plugin-2.0-py3-none-any.whl"

    def missing(
        self, requirements: Sequence[str], constraints: Sequence[str], *, build: bool = False, **options: Any
    ) -> list[str]:
        """Answer with what is given."""
        told.append(("missing", [*requirements], [*constraints], build, options["python"].name))
        if isinstance(answers["missing"], Exception) and constraints in answers.get("at", [constraints]):
            raise answers["missing"]
        return list(answers.get("found", []))

    def install_with_needs(
        self, python: Path, packages: Path, requirements: Sequence[str], *, build: bool = False
    ) -> None:
        """Note it."""
        told.append(("with needs", python.name, packages.name, [*requirements], build))
        _write(packages)

    def install(self, target: Path, what: Sequence[str], python: Path | None = None) -> None:
        """Note it."""
        told.append(("install", [*what], python and python.name))
        _write(target)

    def install_locked(
        self, target: Path, hashes: Any, python: Path | None = None, *, built: frozenset[str] = frozenset()
    ) -> None:
        """Note it."""
        told.append(("locked", [*hashes], python and python.name, built))

    def problems(self, python: Path) -> str:
        """Answer with what is given."""
        return str(answers.get("problems", ""))


def _write(packages: Path) -> None:
    info = packages / "echo_plugin-2.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    needs = "Provides-Extra: few\nRequires-Dist: a\nRequires-Dist: far\nRequires-Dist: more; extra == 'few'\n"
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: echo-plugin\nVersion: 2.0\n{needs}")
    (info / "RECORD").write_text("")
    (packages / "echo.pth").write_text(answers.get("places", ""))


@pytest.fixture
def make(tmp_path: Path, write_files: Callable[[Path, Files], Path], monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that begins the installation of a local project with some lines in its table."""
    told.clear()
    answers.clear()
    answers["missing"] = None
    wheels = {name: Path(f"/wheels/{name}.whl") for name in host_wheels.names()}
    monkeypatch.setattr(host_wheels, "wheels_in", lambda *_, **__: wheels)

    def begin(*lines: str, dry: bool = False, project: bool = True, **more: Any) -> EnvironmentInstallation:
        text = "\n".join(['[project]\nname = "Echo_Plugin"', *lines])
        files = {"echo_plugin.py": ""} | ({"pyproject.toml": text} if project else {})
        folder = write_files(tmp_path / "mine", files)
        declared = LocalPlugin(path=folder, provides=("echo_plugin.Echo",), isolation="process", **more)
        (tmp_path / "work").mkdir(exist_ok=True)
        uv = FakeUv("echo", tmp_path / "work", dry=dry)
        place = tmp_path / ".envs/echo@00"
        return EnvironmentInstallation("echo", declared, Source(folder), place, Store(tmp_path), uv)

    return begin


def hosts() -> list[str]:
    """Return this package and its hook contract as requirements."""
    return [f"{name} @ file:///wheels/{name}.whl" for name in host_wheels.names()]


def test_versions_are_those_of_the_plugin_beside_this_package(make: Make, tmp_path: Path) -> None:
    """Neither of the two is among them; an address stays one, and is built where it is a repository."""
    installation = make(f'dependencies = ["b>1", "{ADDRESS}"]', 'requires-python = "==3.12.*"', python="3.12")
    answers["found"] = ["far==1", "echo-plugin==2.0", "b==2", "cuvis-ai-core==1", "cuvis-ai-hookspecs==1", "a==1"]
    assert installation.what() == "an environment with Python 3.12"
    assert installation.resolve(["b==2"]) == ["a==1", "b==2", ADDRESS]
    own = f"-e Echo_Plugin @ {(tmp_path / 'mine').as_uri()}".split(" ", 1)
    assert told == [
        ("environment", "3.12"),
        ("missing", [*hosts(), *own, SCHEMAS], ["b==2"], False, "python"),
    ]
    assert list((tmp_path / "work/environment" / PACKAGES).iterdir()) == []
    told.clear()
    repository = "far @ git+https://host/far"
    make(f'dependencies = ["{repository}"]', dry=True).resolve([])
    assert told[-1] == ("missing", [*hosts(), repository, SCHEMAS], [], True, "python")


@pytest.mark.parametrize("error", [DependencyConflictError("no"), DependencyNotFoundError("no")])
def test_keeping_versions_is_a_wish(make: Make, error: Exception) -> None:
    """Where they contradict or are gone, they are chosen anew; what fails anyhow is an error."""
    installation = make('dependencies = ["b"]')
    answers.update(missing=error, at=[["b==2"]], found=["b==3"])
    assert installation.resolve(["b==2"]) == ["b==3"]
    assert [each[2] for each in told if each[0] == "missing"] == [["b==2"], []]
    answers["at"] = [[]]
    with pytest.raises(type(error), match="no"):
        installation.resolve([])
    assert len([each for each in told if each[0] == "missing"]) == 3
    answers.update(missing=InstallError("broken"), at=[["b==2"]])
    with pytest.raises(InstallError, match="broken"):
        installation.resolve(["b==2"])


@pytest.mark.parametrize(
    ("requirement", "accepted"),
    [
        ("cuvis-ai-core<1", False),
        ("Cuvis_AI.schemas>999", False),
        ("cuvis-ai-hookspecs>999", False),
        ("cuvis-ai-core", True),
        (SCHEMAS, True),
        ("numpy>999", True),
    ],
)
def test_a_process_has_this_package_as_it_is_here(make: Make, requirement: str, accepted: bool) -> None:  # noqa: FBT001
    """What crosses between the two is of one version; of all else it may have its own."""
    installation = make(f'dependencies = ["{requirement}"]')
    if accepted:
        assert installation.needs() == ("echo-plugin", (requirement,))
        return
    with pytest.raises(DependencyConflictError) as caught:
        installation.needs()
    here = importlib.metadata.version(re.split("[<>]", requirement)[0])
    assert (caught.value.requirement, caught.value.installed) == (requirement, here)
    assert caught.value.message.startswith(
        f"Dependency conflict: package echo-plugin requires {requirement}, but {here} is installed; the worker process"
    )


def test_what_only_a_build_tells_of_a_folder_may_be_built_by_uv(make: Make, tmp_path: Path) -> None:
    """It is asked for nothing then; a dry run says so. A name that only its wheel has is asked of that Python."""
    installation = make('dynamic = ["dependencies"]')
    assert installation.needs() == ("echo-plugin", ())
    assert installation.uv.allowed == {"echo-plugin"}
    plain = make("dependencies = []")
    assert (plain.needs(), plain.uv.allowed) == (("echo-plugin", ()), frozenset())
    with pytest.raises(BuildError, match=r"'echo' has dynamic metadata \(Echo_Plugin\)"):
        make('dynamic = ["dependencies"]', dry=True).needs()
    (tmp_path / "mine/pyproject.toml").unlink()
    (tmp_path / "mine/setup.py").touch()
    told.clear()
    named = make(project=False)
    assert (named.needs(), named.uv.allowed) == (("echo-plugin", ()), frozenset({"echo-plugin"}))
    assert told == [("environment", None), ("wheel", "python")]
    (tmp_path / "mine/setup.py").unlink()
    with pytest.warns(UserWarning, match=r"has no pyproject\.toml"):
        assert make(project=False).needs() == ("echo", ())


def test_without_a_lock_file_uv_chooses(make: Make, tmp_path: Path) -> None:
    """All of it together; what is made says where the code lies, and which extras there are not is an error."""
    installation = make('dependencies = ["a"]', "optional-dependencies.few = []", extras=("few",))
    made, folder = installation.make(None, "key")
    project = tmp_path / "mine"
    requirements = [*hosts(), "-e", f"Echo_Plugin[few] @ {project.as_uri()}", SCHEMAS]
    assert told[1:] == [("with needs", "python", "site-packages", requirements, False)]
    assert (made.distribution, made.version, made.editable, made.pins) == ("echo-plugin", "2.0", str(project), ())
    assert (made.core, made.folder) == (host_wheels.edited_folder(), tmp_path / "work/environment")
    assert folder == host_wheels.environment_folder(installation.place, installation.declared, None)
    assert installation.found(None, "key") is None
    folder.parent.mkdir(parents=True)
    made.folder.rename(folder)
    (folder / made.python.relative_to(made.folder)).parent.mkdir()
    (folder / made.python.relative_to(made.folder)).touch()
    found = installation.found(None, "key")
    assert found is not None
    assert (found.folder, found.distribution) == (folder, "echo-plugin")
    assert installation.found(Choice(("a==1",)), "key") is None
    installation.store.release()
    lacking = make('dynamic = ["optional-dependencies"]', extras=("many",))
    lacking.uv = FakeUv("echo", tmp_path)
    with pytest.raises(ProjectFileError, match=r"has no extra 'many'; it offers: few\."):
        lacking.make(None, "key")


def test_with_a_lock_file_it_is_what_that_says(make: Make, tmp_path: Path) -> None:
    """Without the needs of the plugin; what is missing then is said, and no address is taken but the plugin's own."""
    installation = make(f'dependencies = ["{ADDRESS}"]')
    choice = Choice((ADDRESS,), {ADDRESS: ("sha256:0",)}, built=frozenset({"b"}))
    answers["problems"] = "The package `a` requires `b`"
    with pytest.raises(LockError) as caught:
        installation.make(choice, "key")
    assert caught.value.message == (
        "What is locked for plugin 'echo' is not all that it needs: The package `a` requires `b`"
    )
    assert caught.value.plugin == "echo"
    own = [*hosts(), "-e", f"Echo_Plugin @ {(tmp_path / 'mine').as_uri()}"]
    assert told[1:] == [("install", own, "python"), ("locked", [ADDRESS], "python", frozenset())]
    answers.clear()
    installation.make(choice, "key")
    told.clear()
    elsewhere = "b @ https://elsewhere/b.whl"
    with pytest.raises(LockError, match="at an address of its own"):
        installation.make(Choice((elsewhere,), {elsewhere: ("sha256:0",)}), "key")
    assert [each[0] for each in told] == ["install"]
    with pytest.raises(LockError, match=r"The lock file has z==1 for plugin 'echo', which nothing"):
        installation.make(Choice(("z==1",), {"z==1": ("sha256:0",)}), "key")


def test_what_only_an_extra_needs_is_locked_where_it_is_asked_for(make: Make) -> None:
    """Else nobody needs it."""
    choice = Choice(("more==1",), {"more==1": ("sha256:0",)})
    lines = ["dependencies = []", "optional-dependencies.few = ['more']"]
    make(*lines, extras=("few",)).make(choice, "key")
    with pytest.raises(LockError, match=r"has more==1 for plugin 'echo', which nothing that it needs requires"):
        make(*lines).make(choice, "key")


@pytest.mark.parametrize(
    ("places", "paths"),
    [("MINE\n", ("MINE",)), ("MINE/src\nMINE\n", ("MINE", "MINE/src")), ("import strange_hook\n", ()), ("", ())],
)
def test_an_environment_says_where_modules_lie_that_are_not_in_it(
    make: Make, tmp_path: Path, places: str, paths: tuple[str, ...]
) -> None:
    """As far as that can be read; a hook is at work in the environment itself."""
    mine = tmp_path / "mine"
    (mine / "src").mkdir(parents=True)
    (mine / "src/more.py").touch()
    answers["places"] = places.replace("MINE", str(mine))
    made, _ = make("dependencies = []").make(None, "key")
    assert made.paths == tuple(each.replace("MINE", str(mine)) for each in paths)


def test_a_folder_without_a_project_is_a_path_and_nothing_to_install(make: Make, tmp_path: Path) -> None:
    """Beside what each process has."""
    with pytest.warns(UserWarning, match=r"has no pyproject\.toml"):
        made, _ = make(project=False, extras=("many",)).make(None, "key")
    assert told[-1] == ("with needs", "python", "site-packages", [*hosts(), SCHEMAS], False)
    assert (made.distribution, made.paths) == ("", (str(tmp_path / "mine"),))


def test_a_tag_is_installed_as_a_wheel(make: Make, tmp_path: Path) -> None:
    """For the Python of the process; where it names a repository, what that has is built."""
    local = make("dependencies = ['far @ git+https://host/far']")
    checkout, commit = tmp_path / "mine", "a" * 40
    (checkout / ".git").mkdir()
    (checkout / ".git/HEAD").write_text(f"{commit}\n")
    complete(checkout, commit, identity("echo", "https://host/x.git", "v2.0"))
    declared = GitPlugin(repo="https://host/x.git", tag="v2.0", provides=("echo_plugin.Echo",), isolation="process")
    source = Source(checkout, commit, "")
    installation = EnvironmentInstallation("echo", declared, source, local.place, local.store, local.uv)
    made, _ = installation.make(None, "key")
    wheel = f"Echo_Plugin @ {(tmp_path / 'work/source/Echo_Plugin-2.0-py3-none-any.whl').as_uri()}"
    assert told[-2:] == [
        ("wheel", "python"),
        ("with needs", "python", "site-packages", [*hosts(), wheel, SCHEMAS], True),
    ]
    assert (made.editable, made.version) == ("", "2.0")


@pytest.mark.parametrize("core", ["", "/edited"])
def test_an_environment_replaces_those_from_before_an_edit_of_this_package(
    make: Make, tmp_path: Path, core: str
) -> None:
    """Of one that is not edited, others may have their own."""
    installation = make("dependencies = []")
    places = {}
    for name, edited in (("here", core), ("before", "/edited"), ("other", "/another"), ("installed", "")):
        places[name] = tmp_path / ".envs/echo@00" / name
        places[name].mkdir(parents=True)
        write_environment(Environment(places[name], "echo-plugin", "1", (), core=edited, watched={}))
    (tmp_path / ".envs/echo@00/half").mkdir()
    present = Environment(places["here"], "echo-plugin", "1", (), core=core)
    assert installation.outdated(present) == ([places["before"]] if core else [])
