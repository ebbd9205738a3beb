import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuvis_ai_core.errors import ManifestError
from cuvis_ai_core.plugins.manifest.manifest_schema import (
    GitPlugin,
    LocalPlugin,
    Manifest,
    manifest_schema,
    parse_plugin,
    read_manifest,
)

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "plugins.schema.json"
REGENERATE = (
    'python -c "import json; from cuvis_ai_core.plugins.manifest import manifest_schema; '
    'print(json.dumps(manifest_schema.manifest_schema(), indent=2))"'
    " > docs/reference/plugins.schema.json"
)
DOCUMENTED = """\
plugins:
  adaclip:
    repo: "https://github.com/cubert-hyperspectral/cuvis-ai-adaclip.git"   # git@…, https://… or http://…
    tag: "v0.1.1"                       # tags only: no branch, no commit; pre-releases (v2.0.0-beta.1) are tags like any other
    provides: [cuvis_ai_adaclip.node.adaclip_node.AdaCLIPDetector]         # at least one, fully qualified
  local_dev:
    path: "../my-custom-plugin"         # absolute, or relative to this file
    provides: [my_plugin.custom.CustomNode]
"""  # noqa: E501 - word for word as in the documentation
GIT = {"repo": "https://example.org/owner/plugin.git", "tag": "v1.0.0", "provides": ["plugin.nodes.Node"]}
LOCAL = {"path": "plugin", "provides": ["plugin.nodes.Node"]}

Read = Callable[[str], Manifest]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a reader of manifests that are given as text."""

    def read_text(text: str) -> Manifest:
        file = tmp_path / "plugins.yaml"
        file.write_text(text, encoding="utf-8")
        return read_manifest(file)

    return read_text


def parse(**changes: object) -> GitPlugin | LocalPlugin:
    """Check a good entry of a Git plugin, or of a local one, with some keys changed."""
    return parse_plugin("plugin", {**(LOCAL if "path" in changes else GIT), **changes}, base=Path.cwd())


def test_the_documented_manifest_is_read(read: Read, tmp_path: Path) -> None:
    """The example of the documentation means what it says."""
    plugins = read(DOCUMENTED).plugins
    assert list(plugins) == ["adaclip", "local_dev"]
    assert plugins["adaclip"] == GitPlugin(
        repo="https://github.com/cubert-hyperspectral/cuvis-ai-adaclip.git",
        tag="v0.1.1",
        provides=("cuvis_ai_adaclip.node.adaclip_node.AdaCLIPDetector",),
    )
    assert plugins["local_dev"] == LocalPlugin(
        path=tmp_path.parent / "my-custom-plugin", provides=("my_plugin.custom.CustomNode",)
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "plugins:\n", "plugins: {}\n", "plugins: null"])
def test_an_empty_manifest_has_no_plugins(read: Read, text: str) -> None:
    """A manifest in which nothing stands yet is no error."""
    assert read(text).plugins == {}


def test_a_byte_order_mark_means_nothing(read: Read) -> None:
    """Editors on Windows put it before the text."""
    assert read("\ufeff" + DOCUMENTED) == read(DOCUMENTED)


def test_aliases_and_merge_keys_save_repetition(read: Read) -> None:
    """Two versions of one plugin can share what they have in common."""
    text = """\
        plugins:
          old: &plugin
            repo: https://example.org/owner/plugin.git
            tag: v1.0.0
            provides: [plugin.nodes.Node]
          new:
            <<: *plugin
            tag: v2.0.0-beta.1
        """
    old, new = read(dedent(text)).plugins.values()
    assert isinstance(new, GitPlugin)
    assert old == new.model_copy(update={"tag": "v1.0.0"})


def test_optional_keys_have_defaults_that_need_no_thought() -> None:
    """A plugin is scoped and has no extras unless it says so."""
    plugin = parse()
    assert (plugin.isolation, plugin.extras, plugin.subdirectory, plugin.python) == ("scoped", (), None, None)


def test_optional_keys_are_read_in_their_one_spelling() -> None:
    """Extras are compared as PEP 685 says, folders without what means nothing."""
    plugin = parse(
        isolation="process", python="3.12", extras=["Torch", "big_model", "big.model"], subdirectory="./a//b/"
    )
    assert plugin.extras == ("big-model", "torch")
    assert (plugin.isolation, plugin.python, plugin.subdirectory) == ("process", "3.12", "a/b")


@pytest.mark.parametrize("scheme", ["HTTPS", "Http", "SSH"])
def test_a_scheme_is_written_as_git_knows_it(scheme: str) -> None:
    """Browsers and people write it in any letters, git looks for a program of that name."""
    parsed = parse_plugin("plugin", GIT | {"repo": f"{scheme}://Lab.org/Group/x.git"}, base=Path())
    assert isinstance(parsed, GitPlugin)
    assert parsed.repo == f"{scheme.lower()}://Lab.org/Group/x.git"


def test_a_shown_plugin_has_no_credentials() -> None:
    """A configuration can be logged."""
    plugin = parse(repo="https://user:hunter2@example.org/x.git")
    assert "hunter2" not in f"{plugin} {plugin!r}"
    assert "https://***@example.org/x.git" in repr(plugin)


def test_relative_paths_begin_at_the_manifest(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory does not matter; absolute paths stay, ~ is the home folder."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(home)
    entry = "{{path: {path}, provides: [m.N]}}"
    paths = {"a": "sub", "b": "../x", "c": str(tmp_path / "abs"), "d": "~/x", "e": "'~'"}
    plugins = read("plugins:\n" + "".join(f"  {n}: {entry.format(path=p)}\n" for n, p in paths.items())).plugins
    found = [plugin.path for plugin in plugins.values() if isinstance(plugin, LocalPlugin)]
    assert found == [tmp_path / "sub", tmp_path.parent / "x", tmp_path / "abs", home / "x", home]


def test_a_manifest_is_found_relative_to_the_working_directory(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own path may be relative; those in it come out absolute."""
    read(DOCUMENTED)
    monkeypatch.chdir(tmp_path)
    assert read_manifest(Path("plugins.yaml")) == read(DOCUMENTED)


def test_a_path_leads_through_a_link_as_the_system_goes(tmp_path: Path) -> None:
    """`link/..` is the folder above the link's goal, not the one in which the link lies."""
    (tmp_path / "far" / "goal").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "goal")
    plugin = parse_plugin("plugin", LOCAL | {"path": "link/../x"}, base=tmp_path)
    assert isinstance(plugin, LocalPlugin)
    assert plugin.path == tmp_path.resolve() / "far" / "x"


@pytest.mark.parametrize("path", ["plugin", Path("plugin")])
def test_a_configuration_in_memory_has_paths_from_its_base(tmp_path: Path, path: object) -> None:
    """`load_plugin` takes texts and path objects."""
    plugin = parse_plugin("plugin", LOCAL | {"path": path}, base=tmp_path)
    assert isinstance(plugin, LocalPlugin)
    assert plugin.path == tmp_path / "plugin"


def test_a_checked_plugin_can_be_checked_again() -> None:
    """`load_plugin` also takes what a manifest was read into, and any kind of mapping."""
    for config in (GIT, LOCAL):
        plugin = parse_plugin("plugin", MappingProxyType(config), base=Path.cwd())
        assert parse_plugin("plugin", plugin, base=Path("/elsewhere")) == plugin
        assert Manifest(plugins={"plugin": plugin}).plugins["plugin"] == plugin


def test_the_same_configuration_is_equal_however_it_is_written() -> None:
    """The registry asks this when a name is loaded again."""
    same = [parse(), parse(isolation="scoped", extras=[]), parse(provides=("plugin.nodes.Node",))]
    assert len(set(same)) == 1
    assert parse(extras=["b", "A"]) == parse(extras=["a", "B", "a"])
    assert parse() != parse(tag="v2.0.0")
    assert parse() != parse(path="plugin")


@pytest.mark.parametrize("isolation", [{}, {"isolation": "scoped"}, {"isolation": "process"}, {"isolation": "auto"}])
@pytest.mark.parametrize("provides", [["pkg.nodes.A"], ("pkg.nodes.A", "pkg.nodes.B"), ["größe.Maß"]])
def test_a_plain_entry_is_what_the_model_makes_of_it(isolation: dict[str, str], provides: object) -> None:
    """For a usual entry the model is not prepared: nobody sees a difference."""
    entry = {"repo": "https://lab.org/group/plugin.git", "tag": "v1.0.0", "provides": provides, **isolation}
    plain, made = parse_plugin("echo", entry, base=Path()), GitPlugin.model_validate(entry)
    assert (plain, hash(plain), repr(plain)) == (made, hash(made), repr(made))
    assert plain.model_fields_set == made.model_fields_set
    assert plain.model_dump_json() == made.model_dump_json()


def test_a_plugin_cannot_be_changed() -> None:
    """What was checked stays as it was checked."""
    with pytest.raises(ValueError, match="frozen"):
        parse().isolation = "auto"


def test_the_schema_in_the_documentation_is_that_of_the_model() -> None:
    """Editors check manifests with the file, so it is generated anew whenever the model changes."""
    stored = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert stored == manifest_schema(), f"write it anew: {REGENERATE}"


def test_the_schema_describes_every_key() -> None:
    """Editors show these sentences while one types."""
    for kind in manifest_schema()["$defs"].values():
        assert all(key["description"] for key in kind["properties"].values())
        assert kind["additionalProperties"] is False


KEYS = ["plugins", "repo", "tag", "path", "provides", "isolation", "extras", "python", "subdirectory"]
VALUES = ["a", "b-c", "m.N", "v1", "1.10", "https://h/o/r.git", "process", "..", "~", "<<"]
SIGNS = ["-", ":", "[", "]", "{", "}", ",", "&x", "*x", "\n", "\n  ", "\n    "]
WORDS = st.sampled_from([*KEYS, *VALUES, *SIGNS])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | WORDS,
    lambda inner: st.lists(inner) | st.dictionaries(WORDS | st.text(), inner),
    max_leaves=10,
)
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@FUZZ
@given(text=st.text() | st.lists(WORDS).map(" ".join) | ANYTHING.map(lambda data: json.dumps({"plugins": data})))
def test_any_text_is_a_manifest_or_one_error(read: Read, text: str) -> None:
    """No other exception leaves the reader."""
    with suppress(ManifestError, UnicodeEncodeError):  # the test cannot write half a surrogate pair
        assert isinstance(read(text), Manifest)


@FUZZ
@given(content=st.binary())
def test_any_bytes_are_a_manifest_or_one_error(tmp_path: Path, content: bytes) -> None:
    """Not even for a file that is no text."""
    file = tmp_path / "plugins.yaml"
    file.write_bytes(content)
    with suppress(ManifestError):
        assert isinstance(read_manifest(file), Manifest)


@given(name=WORDS | st.text(), config=st.dictionaries(WORDS | st.text(), ANYTHING), good=st.booleans())
def test_any_mapping_is_a_plugin_or_one_error(name: str, config: Mapping[str, Any], good: bool) -> None:  # noqa: FBT001
    """No other exception leaves the check of a configuration in memory."""
    with suppress(ManifestError):
        plugin = parse_plugin(name, {**GIT, **config} if good else config, base=Path.cwd())
        assert isinstance(plugin, GitPlugin | LocalPlugin)
        assert plugin.provides
        assert not math.isnan(hash(plugin))
