"""What is read from a plugin's pyproject.toml and from its tag."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core.errors import ProjectFileError
from cuvis_ai_core.plugins.installing.pyproject import read_project, version_in


def project(folder: Path, extras: str, dependencies: str = "[]") -> Path:
    """Write a project file and return its folder."""
    text = f'[project]\nname = "My.Plugin"\ndependencies = {dependencies}\n[project.optional-dependencies]\n{extras}'
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_extras_that_name_the_project_itself_are_expanded(tmp_path: Path) -> None:
    """Through several steps, in cycles, and however the name is spelt."""
    folder = project(
        tmp_path,
        'images = ["pillow"]\nvideo = ["av", "my_plugin[images]"]\n'
        'all = ["my-plugin[images,video]", "My.Plugin[ALL]"]\n',
        '["numpy"]',
    )
    assert read_project(folder, ("all",)).dependencies == ("numpy", "pillow", "av")
    assert read_project(folder, ("images",)).dependencies == ("numpy", "pillow")
    assert read_project(folder).dependencies == ("numpy",)


def test_dependencies_may_name_extras_of_the_project_itself(tmp_path: Path) -> None:
    """The base dependencies too, with markers that count."""
    needs = """["my-plugin[a]; python_version >= '3.0'", "my-plugin[b]; python_version < '3.0'"]"""
    assert read_project(project(tmp_path, 'a = ["one"]\nb = ["two"]\n', needs)).dependencies == ("one",)


def test_an_extra_of_its_own_that_a_project_does_not_have_is_named(tmp_path: Path) -> None:
    """With those that it has."""
    folder = project(tmp_path, 'all = ["my-plugin[imagse]"]\nimages = []\n')
    with pytest.raises(ProjectFileError, match="no extra 'imagse'; it offers: all, images"):
        read_project(folder, ("all",))


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("v1.2.0", "1.2.0"),
        ("1.2.0", "1.2.0"),
        ("v2.0.0-beta.1", "2.0.0b1"),
        ("release/1.2.0", "1.2.0"),
        ("my-plugin-1.2.0", "1.2.0"),
        ("my_plugin-v1.2.0", "1.2.0"),
        ("plugins/echo@1.2.0rc1", "1.2.0rc1"),
        ("nightly", None),
        ("2024-01-01", None),
        ("state-2024-01-01", None),
        ("latest-good", None),
        ("-1.2.0", None),
    ],
)
def test_the_version_that_a_tag_states(tag: str, version: str | None) -> None:
    """The usual forms; a tag that is none of them states nothing."""
    assert version_in(tag) == version


@given(st.text(alphabet="av.1-/@+_", max_size=12))
def test_any_tag_states_a_version_or_none(tag: str) -> None:
    """No tag is an error here, and a version states itself."""
    version = version_in(tag)
    assert version is None or version_in(f"name-{version}") == version


@pytest.mark.parametrize(
    "lines",
    [
        f'name = "p"\ndependencies = ["numpy>={"9" * 5000}"]',
        f'name = "p"\nrequires-python = ">=3.{"9" * 5000}"',
        f'name = "p"\ndependencies = ["numpy; {"(" * 1900}python_version>\'3\'{")" * 1900}"]',
        'name = "p"\ndependencies = [' + '"a>=1", ' * 1001 + "]",
        'name = "../../p"',
        'name = "p\\u001b[2J"',
        f'name = "{"p" * 300}"',
    ],
    ids=["digits", "python", "nested", "many", "up", "escape", "long"],
)
def test_what_no_project_says_is_one_error(tmp_path: Path, lines: str) -> None:
    """A number of thousands of digits, a tree of conditions, a name that is a path: the text shows no control."""
    (tmp_path / "pyproject.toml").write_text(f"[project]\n{lines}\n")
    with pytest.raises(ProjectFileError) as caught:
        read_project(tmp_path)
    assert str(caught.value).replace("\n", "").isprintable()
    assert len(str(caught.value)) < 10_000
