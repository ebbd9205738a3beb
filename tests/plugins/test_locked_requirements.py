"""What is locked has to be what a plugin needs: no address of its own, nothing unasked, no version that is refused."""

from collections.abc import Callable
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import LockError
from cuvis_ai_core.plugins.dependencies import search_path
from cuvis_ai_core.plugins.installing.locked_requirements import refuse_addresses, refuse_unasked, refuse_unmet, unasked

HINT = "Ask who changed the lock file. If the manifest is right: cuvis-ai plugins lock"

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Return a function that writes the metadata of a distribution into a folder, and returns the folder."""

    def write(name: str, *requires: str, version: str = "1", below: str = "site") -> Path:
        info = tmp_path / below / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        return tmp_path / below

    return write


@pytest.mark.parametrize(
    ("pin", "requirement", "fits"),
    [
        ("a==1", "a", True),
        ("a @ https://a.org/a.whl", "a @ https://a.org/a.whl", True),
        ("A_B @ https://a.org/a.whl", "a.b[x]@https://u:p@a.org/a.whl#sha256=0", True),
        ("a @ https://a.org/a.whl", "a @ https://a.org/a.whl ; python_version>'3'", True),
        ("a @ git+https://a.org/a@0123", "a @ git+https://a.org/a@main", True),
        ("a @ git+https://a.org/a@0123", "a @ git+https://a.org/a", True),
        ("a @ git+ssh://git@a.org/a@0123", "a @ git+ssh://git@a.org/a@v1", True),
        ("a @ git+https://a.org/a@0123#subdirectory=x", "a @ git+https://a.org/a@main", True),
        ("a @ https://a.org/a.whl", "a", False),
        ("a @ https://a.org/a.whl", "b @ https://a.org/a.whl", False),
        ("a @ https://a.org/b.whl", "a @ https://a.org/a.whl", False),
        ("a @ https://a.org/x@1/a.whl", "a @ https://a.org/x@2/a.whl", False),
        ("a @ https://a.org/a.whl@1", "a @ https://a.org/a.whl@2", False),
        ("a @ git+https://a.org/b@0123", "a @ git+https://a.org/a@0123", False),
        ("a @ git+https://a.org/a@0123", "a @ https://a.org/a@0123", False),
    ],
)
def test_an_address_is_the_plugins_own(pin: str, requirement: str, fits: bool) -> None:  # noqa: FBT001
    """The same file or repository, whatever commit, hash, condition or credentials go with it."""
    if fits:
        refuse_addresses("echo", ["x==1", pin], ["x", requirement])
        return
    with pytest.raises(LockError) as caught:
        refuse_addresses("echo", ["x==1", pin], ["x", requirement])
    assert caught.value.message == (
        f"The lock file has {pin.partition(' ')[0]} of plugin 'echo' at an address of its own, which the plugin does "
        "not name: dependencies come from the package index."
    )
    first = f"If a dependency of the plugin needs it from there, name it in the plugin's own pyproject.toml too: {pin}"
    assert str(caught.value.hint) == f"{first}\nElse: a{HINT[1:]}"
    assert caught.value.plugin == "echo"


def test_what_nothing_requires_is_named(install: Install) -> None:
    """What is required by what is required counts, on whatever system, and of extras those that were asked for."""
    folder = install("a", "b>1", "c; sys_platform == 'nowhere'", "d; extra == 'x'", "a")
    install("B", "e[y]")
    install("e", "f; extra == 'z'", "g")
    pins = [f"{name}==1" for name in "abcdefg"]
    assert unasked(pins, ["A"], [folder]) == ["d==1"]
    assert unasked(pins, ["a[x]"], [folder]) == []
    assert unasked(pins, ["b"], [folder]) == ["a==1", "c==1", "d==1"]
    assert unasked(["x @ https://a.org/x", *pins], ["e", "x"], [folder]) == ["a==1", "b==1", "c==1", "d==1", "f==1"]
    assert unasked(["x==1", "y @ git+https://a.org/y@0"], [], [folder]) == ["x==1", "y @ git+https://a.org/y@0"]
    assert unasked([], ["a"], [folder]) == []
    refuse_unasked("echo", pins, ["a[x]"], [folder])
    with pytest.raises(LockError) as caught:
        refuse_unasked("echo", ["z==1", "y==2", "a==1"], ["a"], [folder])
    assert caught.value.message == (
        "The lock file has y==2, z==1 for plugin 'echo', which nothing that it needs requires."
    )
    assert (caught.value.hint, caught.value.plugin) == (HINT, "echo")


def test_the_first_folder_says_what_is_installed(install: Install) -> None:
    """As an import finds it; a folder without a name in its metadata is nothing."""
    first = install("a", "b", below="first")
    second = install("a", "c", version="2", below="second")
    (install("broken", below="first") / "broken-1.dist-info" / "METADATA").write_text("")
    pins = ["a==1", "b==1", "c==1"]
    assert unasked(pins, ["a"], [first, second]) == ["c==1"]
    assert unasked(pins, ["a"], [second, first]) == ["b==1"]


def test_a_folder_of_which_nothing_is_known_is_nothing(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package importlib_metadata, once imported, answers None for the metadata of such a folder."""
    folder = install("a")

    class Nothing(Distribution):
        metadata: Any = None

        def read_text(self, filename: str) -> None:
            del filename

        def locate_file(self, path: object) -> Path:
            return folder / str(path)

    class Finder:
        @staticmethod
        def find_distributions(context: DistributionFinder.Context) -> list[Distribution]:
            return [Nothing(), *Distribution.discover(context=context)]

    monkeypatch.setattr(search_path, "MetadataPathFinder", Finder)
    assert unasked(["a==1"], ["a"], [folder]) == []


def test_a_version_that_is_refused_is_named_with_who_refuses_it(install: Install) -> None:
    """The plugin itself, or what it needs and is locked; conditions that do not hold here, and addresses, do not."""
    folder = install("a", "b<2", "c<1; python_version<'3'")
    install("other", "b>9")
    good = ["A==1", "b==1.5", "c==7", "d @ https://a.org/d"]
    refuse_unmet("echo", good, ["a", "b>=1", "d>7", "e"], folder)
    for pins, requirements, who, text in (
        (good, ["a>1"], "echo", "a>1"),
        (["a==1", "b==2"], ["b"], "a", "b<2"),
        (["b==2"], ["b<2 ; python_version>'3'"], "echo", "b<2 ; python_version>'3'"),
    ):
        with pytest.raises(LockError) as caught:
            refuse_unmet("echo", pins, requirements, folder)
        name = text[0]
        version = dict(pin.lower().split("==") for pin in pins if "==" in pin)[name]
        assert caught.value.message == (
            f"The lock file has {name}=={version} for plugin 'echo', but {who} needs {text}."
        )
        assert (caught.value.hint, caught.value.plugin) == (HINT, "echo")
    refuse_unmet("echo", ["b==2"], ["b"], folder)
