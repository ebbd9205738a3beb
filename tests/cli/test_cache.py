"""`cuvis-ai plugins cache` and `cuvis-ai plugins verify`."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result

from cuvis_ai_core.plugins.cache import housekeeping
from cuvis_ai_core.registry import NodeRegistry
from cuvis_ai_core.testing.git_host import GitHost

Shell = Callable[..., Result]


@pytest.fixture
def manifest(git_plugin: Callable[..., str], write_yaml: Callable[..., Path]) -> Path:
    """Return a manifest with one plugin, which was loaded and unloaded."""
    declared = {"repo": git_plugin(), "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]}
    path = write_yaml("plugins.yaml", {"plugins": {"echo": declared}})
    with NodeRegistry() as registry:
        registry.load_plugins(path)
    return path


def cache() -> Path:
    """Return the folder of the plugin cache."""
    return NodeRegistry.get_cache_dir()


def test_the_cache_is_listed_with_sizes_uses_and_users(shell: Shell, manifest: Path) -> None:
    """One line per checkout and target directory, and the sum."""
    with NodeRegistry() as registry:
        registry.load_plugins(manifest)
        found = shell("cuvis-ai", "plugins", "cache", "list")
    lines = [line.split() for line in found.stdout.splitlines()]
    assert (found.exit_code, found.stderr) == (0, "")
    assert [line[:2] for line in lines if line[:1] == ["echo"]] == [["echo", "checkout"], ["echo", "target"]]
    assert found.stdout.count(f"process {os.getpid()} (this process)") == 2
    assert lines[-1][-2:] == ["in", "all"]
    assert "-" in shell("cuvis-ai", "plugins", "cache", "list").stdout.split()


def test_the_cache_is_pruned_by_age_and_size(shell: Shell, manifest: Path) -> None:
    """`--dry-run` says what would go; then it goes."""
    assert "Nothing to remove." in shell("cuvis-ai", "plugins", "cache", "prune", "--older-than", "30 days").stdout
    assert "Nothing to remove." in shell("cuvis-ai", "plugins", "cache", "prune", "--max-size", "1.5GB").stdout
    tried = shell("cuvis-ai", "plugins", "cache", "prune", "--max-size", "0", "--dry-run")
    assert f"would remove {cache() / 'echo@v1.0.0'}" in tried.stdout
    assert (cache() / "echo@v1.0.0").is_dir()
    done = shell("cuvis-ai", "plugins", "cache", "prune", "--max-size", "0")
    assert done.stdout == tried.stdout.replace("would remove", "removed")
    assert not (cache() / "echo@v1.0.0").exists()
    assert "is empty" in shell("cuvis-ai", "plugins", "cache", "list").stdout


def test_what_is_told_is_what_the_cache_lost(shell: Shell, tmp_path: Path) -> None:
    """A file that an entry shares with one that stays is not gone, whether it is to be removed or was."""
    new, old = (cache() / f".targets/{name}@0011/pins" for name in ("new", "old"))
    for target in (new, old):
        target.mkdir(parents=True)
        (target / "own").write_bytes(bytes(1000))
    (new / "shared").write_bytes(bytes(10**6))
    (old / "shared").hardlink_to(new / "shared")
    os.utime(old, (1e9, 1e9))
    prune = ("cuvis-ai", "plugins", "cache", "prune", "--older-than", "30d")
    assert shell(*prune, "--dry-run").stdout.splitlines()[-1] == "would remove 1000 bytes"
    assert shell(*prune).stdout.splitlines()[-1] == "removed 1000 bytes"
    assert shell("cuvis-ai", "plugins", "cache", "clear", "new").stdout.splitlines()[-1] == "removed 978 KiB"


@pytest.mark.parametrize("options", [(), ("--older-than", "30"), ("--older-than", "x"), ("--max-size", "2 bananas")])
def test_a_limit_that_is_missing_or_no_measure_is_wrong_usage(shell: Shell, options: tuple[str, ...]) -> None:
    """With an example of a right one."""
    found = shell("cuvis-ai", "plugins", "cache", "prune", *options)
    assert found.exit_code == 2
    assert "30d" in found.stderr or "2GB" in found.stderr


@pytest.mark.parametrize(
    ("age", "seconds"), [("5m", 300), ("12 hours", 43_200), ("30d", 2_592_000), ("1.5d", 129_600), ("2w", 1_209_600)]
)
@pytest.mark.parametrize(
    ("size", "number"), [("7", 7), ("1.5k", 1500), ("20 MB", 2 * 10**7), ("2GB", 2 * 10**9), ("1t", 10**12)]
)
def test_ages_and_sizes_are_what_people_mean_by_them(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, age: str, seconds: float, size: str, number: int
) -> None:
    """Thousands, as disks are sold."""
    asked: dict[str, object] = {}

    def prune(_: object, **options: object) -> list[object]:
        asked.update(options)
        return []

    monkeypatch.setattr(housekeeping, "prune", prune)
    shell("cuvis-ai", "plugins", "cache", "prune", "--older-than", age, "--max-size", size)
    assert asked == {"unused_for": seconds, "max_size": number, "dry_run": False}


def test_one_plugin_or_everything_is_cleared(shell: Shell, manifest: Path) -> None:
    """What is not there is fine."""
    wrong = shell("cuvis-ai", "plugins", "cache", "clear", "Echo").stdout
    assert wrong == "Nothing to remove. The plugin cache has nothing of 'Echo'. Did you mean 'echo'?\n"
    found = shell("cuvis-ai", "plugins", "cache", "clear", "echo")
    assert f"removed {cache() / 'echo@v1.0.0'} (" in found.stdout
    assert "Nothing to remove." in shell("cuvis-ai", "plugins", "cache", "clear").stdout


def test_what_is_in_use_is_kept_with_a_warning(shell: Shell, manifest: Path) -> None:
    """One line on stderr that names the process; the work is done all the same."""
    with NodeRegistry() as registry:
        registry.load_plugins(manifest)
        found = shell("cuvis-ai", "plugins", "cache", "clear", "echo")
    assert found.exit_code == 0
    assert found.stderr.count("Warning: Plugin 'echo': ") == 2
    assert f"process {os.getpid()}" in found.stderr


@pytest.mark.parametrize("arguments", [(), ("plugins.yaml",)])
def test_a_cache_that_is_as_it_was_is_verified(shell: Shell, manifest: Path, arguments: tuple[str, ...]) -> None:
    """The tag in its repository, the checkout, and the target directory."""
    found = shell("cuvis-ai", "plugins", "verify", *arguments)
    assert found.exit_code == 0
    rows = [line.split() for line in found.stdout.splitlines() if line.split()[:1] == ["echo"]]
    assert [(row[1], row[-3:]) for row in rows] == [
        (what, ["as", "it", "was"]) for what in ("tag", "checkout", "target")
    ]


@pytest.mark.parametrize("annotated", [False, True])
@pytest.mark.parametrize("arguments", [(), ("plugins.yaml",)])
def test_a_tag_that_was_moved_is_found(
    shell: Shell,
    write_yaml: Callable[..., Path],
    project_files: Callable[..., dict[str, str]],
    tmp_path: Path,
    annotated: object,
    arguments: tuple[str, ...],
) -> None:
    """The commits of both times are shown, whether the tag is lightweight or annotated; and what to do."""
    with GitHost(tmp_path / "git") as host:
        url = host.add("moved", project_files())
        host.tag("moved", "v1", annotated=bool(annotated))
        manifest = write_yaml(
            "plugins.yaml", {"plugins": {"echo": {"repo": url, "tag": "v1", "provides": ["echo_plugin.nodes.Echo"]}}}
        )
        with NodeRegistry() as registry:
            registry.load_plugins(manifest)
            before = registry.plugin_info("echo").commit
        assert shell("cuvis-ai", "plugins", "verify", *arguments).exit_code == 0
        after = host.commit("moved", project_files(version="2"))
        host.tag("moved", "v1", force=True, annotated=bool(annotated))
        found = shell("cuvis-ai", "plugins", "verify", *arguments)
    assert found.exit_code == 1
    assert f"Error: Tag mismatch in cache for plugin 'echo': tag v1 of {url} is at commit {after} now" in found.stderr
    assert f"fetched at commit {before}" in found.stderr
    assert 'NodeRegistry.clear_plugin_cache("echo")' in found.stderr


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("echo@v1.0.0/src/echo_plugin/nodes.py", "files in"),
        (".targets/*/*/echo_plugin/nodes.py", "installed files in"),
        (".targets/*/*/cuvis-target.json", "lacks its marker"),
    ],
)
def test_what_was_altered_is_found(shell: Shell, manifest: Path, place: str, said: str) -> None:
    """Even where size and time are as they were."""
    (path,) = cache().glob(place)
    state = path.stat()
    path.write_bytes(b"#" * state.st_size)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    found = shell("cuvis-ai", "plugins", "verify", manifest)
    assert found.exit_code == 1
    assert "Error: Tag mismatch in cache for plugin 'echo': " in found.stderr
    assert said in found.stderr
    assert "differs" in found.stdout


def test_a_repository_that_does_not_answer_is_said(
    shell: Shell, write_yaml: Callable[..., Path], project_files: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    """That is no difference; what lies on the disk is verified all the same, and a difference there goes before.

    A host that answers that there is no such repository is no silence, though the password may not open it.
    """
    with GitHost(tmp_path / "git") as host:
        declared = {
            "repo": host.add("gone", project_files(), tag="v1").replace("//", "//author:secret@"),
            "tag": "v1",
            "provides": ["echo_plugin.nodes.Echo"],
        }
        manifest = write_yaml("plugins.yaml", {"plugins": {"echo": declared}})
        with NodeRegistry() as registry:
            registry.load_plugins(manifest)
        (host.root / "gone.git").rename(tmp_path / "elsewhere")
        found = shell("cuvis-ai", "plugins", "verify", manifest)
        assert found.exit_code == 1
        assert "There is no such repository, or the credentials" in found.stderr
    found = shell("cuvis-ai", "plugins", "verify", manifest)
    assert found.exit_code == 3
    assert "Not asked: " in found.stderr
    assert "The host cannot be reached" in found.stderr
    assert "Error: " not in found.stderr
    assert (found.stdout.count("as it was"), found.stdout.count("not asked")) == (2, 1)
    assert "differs" not in found.stdout
    next(cache().glob("echo@v1/src/echo_plugin/nodes.py")).write_text("", encoding="utf-8")
    assert shell("cuvis-ai", "plugins", "verify", manifest).exit_code == 1


def test_a_plugin_that_was_never_fetched_is_said_beside_the_others(
    shell: Shell, manifest: Path, write_yaml: Callable[..., Path]
) -> None:
    """That the others are as they were does not speak for it."""
    plugins = yaml.safe_load(manifest.read_text(encoding="utf-8"))["plugins"]
    plugins["a"] = {"repo": "https://example.org/a.git", "tag": "v1", "provides": ["a.B"]}
    found = shell("cuvis-ai", "plugins", "verify", write_yaml("two.yaml", {"plugins": plugins}))
    assert found.exit_code == 0
    assert found.stdout.endswith("The plugin cache has nothing of a: that was not compared.\n")


def test_nothing_to_verify_is_said(shell: Shell, write_yaml: Callable[..., Path]) -> None:
    """An empty cache, and a plugin that was never fetched."""
    assert "is empty" in shell("cuvis-ai", "plugins", "verify").stdout
    declared = {"repo": "https://example.org/a.git", "tag": "v1", "provides": ["a.B"]}
    manifest = write_yaml("plugins.yaml", {"plugins": {"a": declared}})
    assert "has nothing of plugins.yaml" in shell("cuvis-ai", "plugins", "verify", manifest).stdout
    assert shell("cuvis-ai", "plugins", "verify", "missing.yaml").exit_code == 2
