from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import ManifestError
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin, parse_plugin

GIT = {"repo": "https://example.org/owner/plugin.git", "tag": "v1.0.0", "provides": ["plugin.nodes.Node"]}
LOCAL = {"path": "plugin", "provides": ["plugin.nodes.Node"]}


def parse(**changes: object) -> GitPlugin | LocalPlugin:
    """Check a good entry of a Git plugin, or of a local one, with some keys changed."""
    return parse_plugin("plugin", {**(LOCAL if "path" in changes else GIT), **changes}, base=Path.cwd())


@pytest.mark.parametrize(
    "repo",
    [
        "https://github.com/owner/project",
        "https://github.com/owner/project.git",
        "http://127.0.0.1:8000/project.git",
        "https://gitlab.com/group/subgroup/project.git",
        "https://example.org/group/tree/project",
        "https://user:secret@example.org/owner/project.git",
        "https://[::1]:8000/project",
        "ssh://git@example.org:22/owner/project.git",
        "git@github.com:owner/project.git",
        "build-bot@git.example.org:~owner/project",
    ],
)
def test_the_usual_addresses_are_read_as_they_are(repo: str) -> None:
    """SSH in both forms, HTTPS and HTTP with ports, sub-groups and credentials."""
    plugin = parse(repo=repo)
    assert isinstance(plugin, GitPlugin)
    assert plugin.repo == repo


@pytest.mark.parametrize(
    "tag", ["v1", "v0.1.1", "1.10", "v2.0.0-beta.1", "release/2024", "main", "v1+cu12", "ünïcode", "20240131", "a" * 39]
)
def test_whatever_git_allows_is_a_tag(tag: str) -> None:
    """A tag may even have the name of a branch: only the repository knows."""
    plugin = parse(tag=tag)
    assert isinstance(plugin, GitPlugin)
    assert plugin.tag == tag


@pytest.mark.parametrize(
    ("key", "value", "fragment"),
    [
        ("repo", "-x", "begins like an option"),
        ("repo", "--upload-pack=touch x", "begins like an option"),
        ("repo", "ext::sh -c true", "blank"),
        ("repo", "ext::sh", "remote helper"),
        ("repo", "file:///srv/project.git", "is a folder; give it as 'path'"),
        ("repo", "/srv/project.git", "give it as 'path'"),
        ("repo", "../project", "give it as 'path'"),
        ("repo", "~/project", "give it as 'path'"),
        ("repo", "C:\\project", "give it as 'path'"),
        ("repo", "https://example.org/a b", "blank"),
        ("repo", "https://example.org/a\nb", "control character"),
        ("repo", "https://example.org/a\u200bb", "invisible"),
        ("repo", "", "is empty"),
        ("repo", "   ", "is empty"),
        ("repo", "https://example.org/" + "a" * 2000, "at most 2000"),
        ("repo", "https://github.com/owner/project/tree/main", "write 'https://github.com/owner/project.git'"),
        ("repo", "https://github.com/owner/project/releases/tag/v1", "write 'https://github.com/owner/project.git'"),
        ("repo", "https://gitlab.com/g/s/project/-/tree/main", "write 'https://gitlab.com/g/s/project.git'"),
        ("repo", "https://example.org/../project", "'..'"),
        ("repo", "https://example.org", "no address"),
        ("repo", "https:///project", "no address"),
        ("repo", "https://-oProxyCommand=x/project", "no address"),
        ("repo", "ssh://-oProxyCommand=x/project", "no address"),
        ("repo", "ssh://-oProxyCommand=x@example.org/project", "no address"),
        ("repo", "https://example.org:99999/project", "no address"),
        ("repo", "https://[::1/project", "no address"),
        ("repo", "https://example.org/project?ref=v1", "no address"),
        ("repo", "https://example.org/project#v1", "no address"),
        ("repo", "https://example.org\\project/x", "no address"),
        ("repo", "ftp://example.org/project", "no address"),
        ("repo", "git://example.org/project", "no address"),
        ("repo", "git@-host:project", "no address"),
        ("repo", "git@github.com/owner/project", "git@host:path"),
        ("repo", "git+https://example.org/project", "leave it away"),
        ("repo", "github.com/owner/project", "put https:// before it"),
        ("repo", "owner/project", "has no host"),
        ("tag", "-v1", "begins like an option"),
        ("tag", "refs/tags/v1", "write only what follows refs/tags/"),
        ("tag", "refs/heads/main", "is a branch"),
        ("tag", "origin/main", "is a branch"),
        ("tag", "HEAD", "is a branch or another ref"),
        ("tag", "0123456789abcdef0123456789abcdef01234567", "is a commit; plugins are loaded from tags only"),
        ("tag", "0123456789ABCDEF" * 4, "is a commit"),
        ("tag", "v1..v2", "git allows no '..'"),
        ("tag", "v1/", "'/' or '.' at the end"),
        ("tag", "/v1", "git allows no"),
        ("tag", "a//b", "git allows no"),
        ("tag", "v1.", "git allows no"),
        ("tag", "@", "git allows no"),
        ("tag", "v1@{0}", "git allows no"),
        ("tag", ".v1", "part that begins with '.'"),
        ("tag", "a/.b", "part that begins with '.'"),
        ("tag", "v1.lock", "ends with '.lock'"),
        ("tag", "a.lock/b", "ends with '.lock'"),
        ("tag", "v1 ", "blank"),
        ("tag", "v1^", "none of"),
        ("tag", "a:b", "none of"),
        ("tag", "v*", "none of"),
        ("tag", "a\\b", "none of"),
        ("tag", "v1\x7f", "control character"),
        ("tag", "", "is empty"),
        ("tag", "1" * 151, "at most 150"),
        ("path", "", "is empty"),
        ("path", "a\0b", "null character"),
        ("path", "https://example.org/project", "give a repository as 'repo', with a 'tag'"),
        ("path", "git@example.org:project", "give a repository as 'repo', with a 'tag'"),
        ("path", "~no-such-user-here/x", "give an absolute path"),
        ("subdirectory", "..", "'..'"),
        ("subdirectory", "a/../b", "'..'"),
        ("subdirectory", "/a", "no relative path"),
        ("subdirectory", "~/a", "no relative path"),
        ("subdirectory", "C:/a", "no relative path"),
        ("subdirectory", "a\\b", "write '/' between folders"),
        ("subdirectory", ".", "leave 'subdirectory' away"),
        ("isolation", "proces", "did you mean 'process'?"),
        ("isolation", "none", "possible are scoped, process, auto"),
    ],
)
def test_a_value_that_breaks_a_rule_is_named(key: str, value: str, fragment: str) -> None:
    """The error has the key, the rule and an example."""
    with pytest.raises(ManifestError) as caught:
        parse(**{key: value})
    assert caught.value.message.startswith(f"plugin.{key}: ")
    assert fragment in caught.value.message
    assert (caught.value.key, caught.value.line, caught.value.path) == (f"plugin.{key}", None, None)
    assert f"Example: {'' if key == 'python' else key}" in str(caught.value.hint)


@pytest.mark.parametrize(
    "repo",
    [
        "https://user:hunter2@example.org/owner/project/tree/main",
        "https://user:hunter2@example.org/?x",
        "https://user:hun/hunter2@example.org/x",
        "user:hunter2@example.org/owner/project",
        "https://hunter2@-example.org/x",
        "https://user:hunter2" + "x" * 200 + "@example.org/?x",
        "https://user:hunter2@example.org/ a",
        "https://user:hunter2@example.org/a\nb",
    ],
)
@pytest.mark.parametrize("key", ["repo", "tag", "provides", "isolation", "unknown"])
def test_no_message_shows_credentials(repo: str, key: str) -> None:
    """Whatever is wrong with an address, and wherever it was put, its password stays out of the error."""
    with pytest.raises(ManifestError) as caught:
        parse(**{key: repo} if key != "unknown" else {repo: "x"})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("config", "fragment"),
    [
        (None, "plugin: is empty; a plugin is a mapping"),
        ("path", "plugin: is a single text"),
        ([], "plugin: is a list"),
        ({}, "plugin: has neither repo and tag nor path"),
        (GIT | {"tag": 1.1}, "plugin.tag: is the number 1.1, not as text; put it in quotes"),
        (GIT | {"tag": 10**5000}, "plugin.tag: is the number"),
        (GIT | {"tag": b"v1"}, "plugin.tag: is b'v1', not as text"),
        (LOCAL | {"path": object}, "plugin.path: is <class 'object'>"),
        (LOCAL | {"provides": {"a.B"}}, "plugin.provides: is {'a.B'}, not a list"),
        (LOCAL | {"provides": (dict,)}, "plugin.provides[0]: is <class 'dict'>"),
        (LOCAL | {1: 2}, "Keys should be strings"),
        (GIT | {"tag": "\ud800"}, "plugin.tag: "),
    ],
)
def test_a_configuration_of_wrong_types_is_an_error(config: Any, fragment: str) -> None:
    """The error names the plugin and what stands in place of what."""
    with pytest.raises(ManifestError) as caught:
        parse_plugin("plugin", config, base=Path.cwd())
    assert fragment in caught.value.message
    assert vars(caught.value)["plugin"] == "plugin"


@pytest.mark.parametrize("name", ["ada-clip", "", "a/b", "..", "None", 5, None, "\ud800"])
def test_a_wrong_name_is_an_error(name: Any) -> None:
    """Names become folders and modules."""
    with pytest.raises(ManifestError):
        parse_plugin(name, GIT, base=Path.cwd())
