from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.errors import ManifestError
from cuvis_ai_core.plugins.manifest.manifest_schema import Manifest, read_manifest

ENTRY = "plugins:\n  a:\n    provides: [m.N]\n"
FROM_GIT = ENTRY + "    repo: https://h/o/r.git\n"
COMPLETE = FROM_GIT + "    tag: v1\n"
ONE = "package_name: a\nname: a\ndescription: x\nrepo: https://h/o/r.git\n"
CAPABILITIES = """\
tag: v1
capabilities:
- kind: data_module
  class_name: {1}
  data_module_name: d
- class_name: {0}
"""
PUBLISHED = ONE + CAPABILITIES.format("m.N", "m.D")
FOLDER = "plugins:\n  a:\n    path: x\n"

Read = Callable[[str], Manifest]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a reader of manifests that are given as text."""

    def read_text(text: str) -> Manifest:
        file = tmp_path / "plugins.yaml"
        file.write_text(text, encoding="utf-8")
        return read_manifest(file)

    return read_text


@pytest.mark.parametrize(
    ("text", "line", "key", "fragment"),
    [
        ("[]", 1, None, "the file is a list; a manifest is a mapping with the key 'plugins'"),
        ("just text", 1, None, "the file is a single text"),
        ("3", 1, None, "the file is the number 3"),
        ("plugin: {}\n", 1, "plugins", "rename 'plugin'"),
        ("adaclip: {path: x}\n", 1, "plugins", "all plugins of a manifest stand under it"),
        ("name: a\nrepo: https://x.org/a/b\ntag: v1\n", 1, "provides", "is missing"),
        (
            PUBLISHED.replace("v1", "1.10"),
            5,
            "tag",
            'YAML reads 1.10 as the number 1.1, not as text; put it in quotes, tag: "1.10"',
        ),
        (PUBLISHED + "extra: []\n", 11, "extra", "did you mean 'extras'?"),
        (PUBLISHED + "path: x\n", 1, None, "has repo and tag and path; keep either"),
        (PUBLISHED.replace("\nname: a", "\nname: a-b"), 2, "name", "write 'a_b'"),
        (ONE + "tag: v1\ncapabilities: []\n", 6, "capabilities", "has no node; name at least one node class"),
        (ONE + CAPABILITIES.format("N", "m.D"), 10, "capabilities[1].class_name", "names no module"),
        (ONE + CAPABILITIES.format("m.N", "D"), 8, "capabilities[0].class_name", "names no module"),
        (
            "plugins:\n  a:\n    path: x\n    capabilities:\n    - x\n    - class_name: N\n",
            6,
            "plugins.a.capabilities[1].class_name",
            "names no module",
        ),
        ("\npackage_name: a\ncapabilities: []\n", 2, "plugins", "a file of one plugin"),
        ("plugins: {}\n\nplugin: {}\n", 3, "plugin", "unknown key; did you mean 'plugins'?"),
        ("plugins: {}\nversion: 1\n", 2, "version", "unknown key; known keys: plugins"),
        ("plugins:\n- name: a\n", 1, "plugins", "is a list, not a mapping; plugin names are its keys"),
        ("plugins: adaclip\n", 1, "plugins", "is a single text, not a mapping"),
        ("plugins: 0\n", 1, "plugins", "is the number 0, not a mapping"),
        ("plugins:\n  a:\n", 2, "plugins.a", "is empty; a plugin is a mapping with repo and tag, or with path"),
        ("plugins:\n  a: ../x\n", 2, "plugins.a", "is a single text; a plugin is a mapping"),
        ("plugins:\n  a: [1]\n", 2, "plugins.a", "is a list; a plugin is a mapping"),
        ("plugins:\n  a: {}\n", 2, "plugins.a", "has neither repo and tag nor path"),
        (ENTRY, 2, "plugins.a", "has neither repo and tag nor path"),
        (COMPLETE + "    path: x\n", 2, "plugins.a", "has repo and tag and path; keep either repo and tag, or path"),
        (ENTRY + "    tag: v1\n    path: x\n", 2, "plugins.a", "has tag and path; keep either"),
        (FROM_GIT, 2, "plugins.a.tag", "is missing; a plugin from Git has repo and tag"),
        (ENTRY + "    tag: v1\n", 2, "plugins.a.repo", "is missing; a plugin from Git has repo and tag"),
        (FOLDER, 2, "plugins.a.provides", "is missing; name at least one node class"),
        (
            FROM_GIT + "    tag: 1.10\n",
            5,
            "plugins.a.tag",
            '1.10 as the number 1.1, not as text; put it in quotes, tag: "1.10"',
        ),
        (FROM_GIT + "    tag: 1_0\n", 5, "plugins.a.tag", 'put it in quotes, tag: "1_0"'),
        (FROM_GIT + "    tag: 012\n", 5, "plugins.a.tag", "YAML reads 012 as the number 10, not as text"),
        (FROM_GIT + "    tag: 1:30\n", 5, "plugins.a.tag", "YAML reads 1:30 as the number 90"),
        (FROM_GIT + "    tag: yes\n", 5, "plugins.a.tag", "YAML reads yes as a truth value, not as text"),
        (FROM_GIT + "    tag:\n", 5, "plugins.a.tag", "is empty; write a value behind the colon"),
        (FROM_GIT + "    tag: ~\n", 5, "plugins.a.tag", "is empty"),
        (FROM_GIT + "    tag: [v1]\n", 5, "plugins.a.tag", "is a list, not text"),
        (FROM_GIT + "    tag: {v: 1}\n", 5, "plugins.a.tag", "is a mapping, not text"),
        (ENTRY + "    tag: v1\n    repo: no\n", 5, "plugins.a.repo", 'put it in quotes, repo: "no"'),
        (ENTRY + "    path: 12\n", 4, "plugins.a.path", 'put it in quotes, path: "12"'),
        (ENTRY + "    path:\n", 4, "plugins.a.path", "is empty"),
        (COMPLETE + "    tga: v1\n", 6, "plugins.a.tga", "unknown key; did you mean 'tag'?"),
        (COMPLETE + "    extra: []\n", 6, "plugins.a.extra", "did you mean 'extras'?"),
        (COMPLETE + "    Isolation: auto\n", 6, "plugins.a.Isolation", "did you mean 'isolation'?"),
        (COMPLETE + "    branch: main\n", 6, "plugins.a.branch", "did you mean 'tag'?"),
        (COMPLETE + "    zzz: 1\n", 6, "plugins.a.zzz", "known keys: data_modules, provides, isolation, extras"),
        (COMPLETE + "    isolation: yes\n", 6, "plugins.a.isolation", "True is no isolation"),
        (COMPLETE + "    isolation:\n", 6, "plugins.a.isolation", "None is no isolation"),
        (COMPLETE + "    python: '3.12'\n", 6, "plugins.a.python", "goes only with 'isolation: process'"),
        (COMPLETE + "    isolation: process\n    python: 3.10\n", 7, "plugins.a.python", 'quotes, python: "3.10"'),
        (COMPLETE + "    isolation: process\n    python: 3.12.1\n", 7, "plugins.a.python", "of the form 3.12"),
        (COMPLETE + "    isolation: process\n    python: '2.7'\n", 7, "plugins.a.python", "of the form 3.12"),
        (COMPLETE + "    isolation: process\n    python: '3.²'\n", 7, "plugins.a.python", "of the form 3.12"),
        (COMPLETE + "    extras: torch\n", 6, "plugins.a.extras", "not a list; write extras: [torch]"),
        (COMPLETE + "    extras:\n", 6, "plugins.a.extras", "is empty, not a list"),
        (COMPLETE + "    extras:\n    - a\n    - '!'\n", 8, "plugins.a.extras[1]", "'!' is no name of an extra"),
        (COMPLETE + "    extras: [1]\n", 6, "plugins.a.extras[0]", 'put it in quotes, "1"'),
        (COMPLETE + "    subdirectory: ../x\n", 6, "plugins.a.subdirectory", "'..'"),
        (FOLDER + "    provides: m.N\n", 4, "plugins.a.provides", "not a list; write provides: [m.N]"),
        (FOLDER + "    provides: []\n", 4, "plugins.a.provides", "is empty; name at least one node class"),
        (FOLDER + "    provides:\n", 4, "plugins.a.provides", "is empty, not a list"),
        (FOLDER + "    provides: {m.N: 1}\n", 4, "plugins.a.provides", "is a mapping, not a list"),
        (FOLDER + "    provides:\n    - m.N\n    - N\n", 6, "plugins.a.provides[1]", "names no module"),
        (FOLDER + "    provides: ['m:N']\n", 4, "plugins.a.provides[0]", "write 'm.N'"),
        (FOLDER + "    provides: [m/n.py]\n", 4, "plugins.a.provides[0]", "is no class path"),
        (FOLDER + "    provides: [.m.N]\n", 4, "plugins.a.provides[0]", "is no class path"),
        (FOLDER + "    provides: [m..N]\n", 4, "plugins.a.provides[0]", "is no class path"),
        (FOLDER + "    provides: [m.class]\n", 4, "plugins.a.provides[0]", "is no class path"),
        (FOLDER + "    provides: [my-plugin.N]\n", 4, "plugins.a.provides[0]", "is no class path"),
        (FOLDER + "    provides: [m.N()]\n", 4, "plugins.a.provides[0]", "is no class path"),
        (FOLDER + "    provides: ['']\n", 4, "plugins.a.provides[0]", "is empty"),
        (FOLDER + "    provides: [5]\n", 4, "plugins.a.provides[0]", "put it in quotes"),
        (FOLDER + "    provides:\n    - m.N\n    - m.N\n", 6, "plugins.a.provides[1]", "'m.N' stands twice"),
        ("plugins:\n  ada-clip: {path: x, provides: [m.N]}\n", 2, "plugins.ada-clip", "write 'ada_clip'"),
        ("plugins:\n  3d: {path: x, provides: [m.N]}\n", 2, "plugins.3d", "write '_3d'"),
        ("plugins:\n  class: {path: x, provides: [m.N]}\n", 2, "plugins.class", "write 'class_'"),
        ("plugins:\n  ../x: {path: x, provides: [m.N]}\n", 2, "plugins.../x", "write '_x'"),
        ("plugins:\n  '': {path: x, provides: [m.N]}\n", 2, "plugins.", "is empty"),
        ("plugins:\n  a b: {path: x, provides: [m.N]}\n", 2, "plugins.'a b'", "write 'a_b'"),
        ("plugins:\n  " + "a" * 101 + ": {path: x, provides: [m.N]}\n", 2, None, "at most 100"),
        ("plugins:\n  no: {path: x, provides: [m.N]}\n", 2, None, "YAML reads 'no' as none; put it in quotes"),
        ("plugins:\n  Ab: &p {path: x, provides: [m.N]}\n  aB: *p\n", 3, "plugins.aB", "from 'Ab' only in case"),
        ("plugins:\n  \ufb01: &p {path: x, provides: [m.N]}\n  fi: *p\n", 3, "plugins.fi", "only in case"),
        ("plugins:\n  a: {}\n  a: {}\n", 3, None, "key 'a' stands here and on line 2"),
        ("plugins:\n\ta: 1\n", 2, None, "a tab indents this line"),
    ],
    ids=lambda value: repr(value)[-50:],
)
def test_a_bad_manifest_is_one_error_with_line_and_key(
    read: Read, tmp_path: Path, text: str, line: int, key: str | None, fragment: str
) -> None:
    """The error names the file, the line, the key and the rule, and shows an example."""
    with pytest.raises(ManifestError) as caught:
        read(text)
    error = caught.value
    assert error.message.startswith(f"{tmp_path / 'plugins.yaml'}:{line}: {key or ''}")
    assert fragment in error.message
    assert (error.path, error.line) == (tmp_path / "plugins.yaml", line)
    assert key is None or error.key == key
    assert error.hint is not None
    assert error.hint.startswith(("Example: ", "A manifest looks like this:"))
    assert str(error) == f"{error.message}\n{error.hint}"


def test_all_broken_rules_are_reported_at_once(read: Read) -> None:
    """One line for each, in the order of the file; the first one's place is in the attributes."""
    with pytest.raises(ManifestError) as caught:
        read("plugins:\n  a-b:\n    path: x\n    provides: [N, 'm:N']\n  c:\n    tag: 1.0\n    repo: x\n    zzz: 1\n")
    places = [line.split("plugins.yaml:")[1].split(": ")[:2] for line in caught.value.message.splitlines()]
    assert places == [
        ["2", "plugins.a-b"],
        ["4", "plugins.a-b.provides[0]"],
        ["4", "plugins.a-b.provides[1]"],
        ["5", "plugins.c.provides"],
        ["6", "plugins.c.tag"],
        ["7", "plugins.c.repo"],
        ["8", "plugins.c.zzz"],
    ]
    assert vars(caught.value)["plugin"] == "a-b"
    assert (caught.value.line, caught.value.key) == (2, "plugins.a-b")


@pytest.mark.parametrize(
    ("text", "lines"),
    [("metadata: {}\nnodes: []\nconnections: []\n", 1), ("plugins: 0\nnodes: []\nversion: 1\n", 3)],
    ids=["no plugins at all", "no mapping of plugins"],
)
def test_of_a_file_of_another_kind_it_is_said_once(read: Read, text: str, lines: int) -> None:
    """Every key of it is unknown; where there are plugins, each is told."""
    with pytest.raises(ManifestError) as caught:
        read(text)
    assert len(caught.value.message.splitlines()) == lines


def test_very_many_broken_rules_are_cut_short(read: Read) -> None:
    """A file of another kind does not fill the screen."""
    with pytest.raises(ManifestError) as caught:
        read("plugins: {" + ", ".join(f"a{n}: 1" for n in range(100)) + "}")
    assert len(caught.value.message.splitlines()) == 21
    assert caught.value.message.endswith("... and 80 more")


def test_a_misspelt_key_still_tells_the_kind(read: Read) -> None:
    """What is missing and what is too much are reported together."""
    with pytest.raises(ManifestError) as caught:
        read(ENTRY + "    pth: x\n")
    assert "plugins.a.path: is missing" in caught.value.message
    assert "plugins.a.pth: is an unknown key; did you mean 'path'?" in caught.value.message


def test_a_manifest_that_is_not_there_is_an_error_that_helps(tmp_path: Path) -> None:
    """The nearest name in the folder is suggested."""
    (tmp_path / "plugins.yaml").touch()
    with pytest.raises(ManifestError, match=r"there is no such file; did you mean 'plugins.yaml'\?") as caught:
        read_manifest(tmp_path / "plugin.yml")
    assert (caught.value.path, caught.value.line) == (tmp_path / "plugin.yml", None)
