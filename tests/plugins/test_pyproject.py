"""What is read from a plugin's pyproject.toml and from its tag."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core.errors import ProjectFileError
from cuvis_ai_core.plugins.installing.pyproject import Project, read_project, version_in


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "is missing; plugins from Git must have one"),
        ("[project", "cannot be read: "),
        ("[tool.black]", "has no [project] table"),
        ("[build-system]\nrequires = []", "has no [project] table"),
        ('[build-system]\nbuild-backend = "setuptools.build_meta"', "has no [project] table"),
        ("build-system = 7", "has no [project] table"),
        ("project = 7", "has no [project] table"),
        ('[project]\nversion = "1"', "has no name in its [project] table"),
        ("[project]\nname = 7", "has no name in its [project] table"),
        ('[project]\nname = ""', "has no name in its [project] table"),
        ('[project]\nname = "-p"', "has a name that is none of a package: '-p'"),
        ('[project]\nname = "p"\ndynamic = "version"', "has a 'dynamic' that is no list"),
        ('[project]\nname = "p"\nrequires-python = "soon"', "has an invalid requires-python: 'soon'"),
        ('[project]\nname = "p"\nrequires-python = 3', "has an invalid requires-python: 3"),
        ('[project]\nname = "p"\nrequires-python = [3]', "has an invalid requires-python: [3]"),
        (
            f'[project]\nname = "p"\nrequires-python = "{" " * 4001}"',
            "has a requires-python of more than 4000 characters",
        ),
        ('[project]\nname = "p"\noptional-dependencies = []', "has an 'optional-dependencies' that is no table"),
        ('[project]\nname = "p"\ndependencies = "numpy"', "has dependencies that are no list: 'numpy'"),
        (
            '[project]\nname = "p"\noptional-dependencies.images = "numpy"',
            "has dependencies that are no list: 'numpy'",
        ),
        ('[project]\nname = "p"\ndependencies = ["a b"]', "has an invalid dependency 'a b': "),
        ('[project]\nname = "p"\ndependencies = [[]]', "has an invalid dependency []: "),
        (f'[project]\nname = "p"\ndependencies = ["a{" " * 4000}"]', "has a dependency of more than 4000 characters"),
        (f'[project]\nname = "p"\ndependencies = {["a"] * 1001}', "has more than 1000 dependencies"),
        ('[project]\nname = "p"', "has no extra 'images'; it offers: none."),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_rule_that_a_project_file_breaks_is_said(tmp_path: Path, text: str | None, said: str) -> None:
    """With the file, and what the least of such files has."""
    path = tmp_path / "pyproject.toml"
    if text is not None:
        path.write_text(text)
    extras = ("images",) if "images" in f"{text}{said}" else ()
    with pytest.raises(ProjectFileError) as caught:
        read_project(tmp_path, extras)
    assert caught.value.message.startswith(f"{path} {said}")
    assert caught.value.path == path
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(
        "Correct 'extras'" if "no extra" in said else "A plugin's pyproject.toml needs at least:\n  [project]\n"
    )


def test_what_is_just_small_enough_is_read(tmp_path: Path) -> None:
    """A thousand dependencies, and four thousand characters of one, or of the Python that it needs."""
    long, many = f"a{' ' * 3999}", [f"a{number}" for number in range(1000)]
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "p"\ndependencies = {many}\n')
    assert read_project(tmp_path).dependencies == tuple(many)
    (tmp_path / "pyproject.toml").write_text(
        f'[project]\nname = "p"\ndependencies = ["{long}"]\nrequires-python = ">=3{" " * 3997}"\n'
    )
    assert read_project(tmp_path) == Project("p", ">=3", ("a",))
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "{"p" * 200}"\n')
    assert read_project(tmp_path) == Project("p" * 200, None, ())


UNKNOWN = Project("", None, None)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"setup.py": ""}, UNKNOWN),
        ({"setup.py": "", "pyproject.toml": "[tool.black]"}, UNKNOWN),
        ({"setup.cfg": "", "pyproject.toml": "[tool.black]"}, UNKNOWN),
        ({"pyproject.toml": '[build-system]\nbuild-backend = "poetry.core.masonry.api"'}, UNKNOWN),
        ({"pyproject.toml": '[project]\nname = "p"\ndynamic = ["dependencies"]'}, Project("p", None, None)),
        ({"pyproject.toml": '[project]\nname = "p"\ndynamic = ["optional-dependencies"]'}, Project("p", None, None)),
        ({"pyproject.toml": '[project]\nname = "p"\ndynamic = ["version"]'}, Project("p", None, ())),
        ({"setup.py": "", "pyproject.toml": '[project]\nname = "p"'}, Project("p", None, ())),
    ],
)
def test_what_only_a_build_can_tell_is_left_open(tmp_path: Path, files: dict[str, str], found: Project) -> None:
    """Where a back-end has it elsewhere, or says so; what is in the table is read."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert read_project(tmp_path) == found
