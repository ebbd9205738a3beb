"""What the policy does not allow is not loaded, whichever way somebody goes."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import (
    LockError,
    NotAllowedError,
    PluginLoadError,
    PluginsLoadError,
    PolicyError,
    SignatureError,
)
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.verification import verify_store
from cuvis_ai_core.testing.git_host import GitHost

ECHO = ["echo_plugin.nodes.Echo"]
Put = Callable[[str], Path]


def entry(url: str, tag: str = "v1.0.0") -> Mapping[str, object]:
    """Return a manifest entry."""
    return {"repo": url, "tag": tag, "provides": ECHO}


def allowing(url: str, more: str = "") -> str:
    """Return a policy that allows one repository."""
    return f'allow: [{{repo: "{url}"{more}}}]\n'


def refused(registry: NodeRegistry, config: Mapping[str, object]) -> NotAllowedError:
    """Load a plugin that may not be loaded, and return why."""
    with pytest.raises(PluginLoadError) as caught:
        registry.load_plugin("echo", config)
    assert isinstance(caught.value.__cause__, NotAllowedError)
    assert registry.list_plugins() == []
    return caught.value.__cause__


def manifest(folder: Path, **entries: Mapping[str, object]) -> Path:
    """Write a manifest."""
    path = folder / "plugins.yaml"
    path.write_text(json.dumps({"plugins": entries}))
    return path


def command(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `cuvis-ai`."""
    words = [sys.executable, "-m", "cuvis_ai_core", *map(str, arguments)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def test_a_repository_that_no_rule_allows_is_not_even_asked(
    registry: NodeRegistry, git_plugin: Callable[..., str], git_host: GitHost, policy: Put, cache: Path
) -> None:
    """Nothing is fetched, nothing is left, and the error names rule, address and who can change it."""
    url = git_plugin()
    path = policy(allowing("https://github.com/our-lab/*"))
    before = git_host.requests

    error = refused(registry, entry(url))

    assert git_host.requests == before
    assert not list(cache.glob("*@*"))
    assert f"{path}:1" in error.message
    assert url in error.message
    assert error.hint is not None
    assert f"Who writes {path}" in error.hint


def test_an_allowed_repository_is_loaded(registry: NodeRegistry, git_plugin: Callable[..., str], policy: Put) -> None:
    """By a pattern of its host, with its port."""
    url = git_plugin()
    policy(allowing(f"{url.rpartition('/')[0]}/*"))

    registry.load_plugin("echo", entry(url))

    assert registry.get("Echo").__name__ == "Echo"


def test_a_policy_counts_from_the_next_load_on(
    registry: NodeRegistry, git_plugin: Callable[..., str], policy: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was loaded before, and is in the cache with a record of that, is refused then; and back."""
    url = git_plugin()
    for _ in range(3):
        registry.load_plugin("echo", entry(url))
        registry.unload_plugin("echo")

    path = policy("allow: []")
    refused(registry, entry(url))
    path.write_text(allowing(url))
    for _ in range(3):
        registry.load_plugin("echo", entry(url))
        registry.unload_plugin("echo")
    path.write_text("allow: []      ")
    refused(registry, entry(url))
    monkeypatch.delenv("CUVIS_POLICY")
    registry.load_plugin("echo", entry(url))
    registry.unload_plugin("echo")
    user = Path.home() / ".config" / "cuvis-ai" / "policy.yaml"
    user.parent.mkdir(parents=True)
    user.write_text("allow: []")
    refused(registry, entry(url))


def test_others_of_a_manifest_stay_loaded(
    registry: NodeRegistry, local_plugin: Callable[..., Path], policy: Put, tmp_path: Path
) -> None:
    """A plugin that may not be loaded fails for itself."""
    mine, other = local_plugin("mine"), local_plugin("other", package="other_plugin", node="Other")
    policy(f'allow: [{{path: "{mine}"}}]')
    path = manifest(
        tmp_path,
        mine={"path": str(mine), "provides": ECHO},
        other={"path": str(other), "provides": ["other_plugin.nodes.Other"]},
    )

    with pytest.raises(PluginsLoadError) as caught:
        registry.load_plugins(path)

    assert caught.value.loaded == ("mine",)
    assert isinstance(caught.value.failed["other"].__cause__, NotAllowedError)


def test_a_link_out_of_an_allowed_folder_is_not_allowed(
    registry: NodeRegistry, local_plugin: Callable[..., Path], policy: Put, tmp_path: Path
) -> None:
    """It is judged where it leads, as `subdirectory` is."""
    evil = local_plugin("evil")
    (tmp_path / "plugins" / "fine").mkdir(parents=True)
    (tmp_path / "plugins" / "link").symlink_to(evil)
    (tmp_path / "plugins" / "fine" / "sub").symlink_to(evil)
    policy('allow: [{path: "plugins/*"}, {path: "plugins/fine/*"}]')

    refused(registry, {"path": str(tmp_path / "plugins" / "link"), "provides": ECHO})
    refused(registry, {"path": str(tmp_path / "plugins" / "fine"), "subdirectory": "sub", "provides": ECHO})


def test_a_link_that_leads_elsewhere_after_it_was_judged_leads_nowhere(
    registry: NodeRegistry, local_plugin: Callable[..., Path], policy: Put, tmp_path: Path
) -> None:
    """Who owns the folder with it may move it at any moment: here, once the code is there."""
    good, evil = local_plugin("good/plugin"), local_plugin("evil/plugin")
    (evil / "src/echo_plugin/nodes.py").write_text("raise SystemExit('pwned')")
    link = tmp_path / "evil/link"
    link.symlink_to(good)
    policy(f'allow: [{{path: "{good.parent}/*"}}]')

    class Mover:
        @hookimpl
        def cuvis_ai_plugin_state(self, state: str) -> None:
            if state == "path resolved" and link.resolve() == good.resolve():
                link.unlink()
                link.symlink_to(evil)

    config = {"path": str(link.parent), "subdirectory": "link", "provides": ECHO}
    registry.register_hooks(Mover())
    refused(registry, config)
    assert link.resolve() == evil.resolve()


def test_a_broken_policy_lets_nothing_be_loaded(
    registry: NodeRegistry, local_plugin: Callable[..., Path], policy: Put
) -> None:
    """The error is that of the policy."""
    policy("alow: []")

    with pytest.raises(PolicyError, match="did you mean 'allow'"):
        registry.load_plugin("echo", {"path": str(local_plugin()), "provides": ECHO})


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_locking_runs_no_build_of_what_is_not_allowed(
    local_plugin: Callable[..., Path], policy: Put, tmp_path: Path, cache: Path
) -> None:
    """`plugins lock`, which builds, is refused as loading is."""
    folder = local_plugin()
    (folder / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\n[project]\nname = "x"\ndynamic = ["version"]\n'
    )
    path = manifest(tmp_path, echo={"path": str(folder), "provides": ECHO})
    policy("allow: []")

    for words in (("lock",), ("lock", "--dry-run"), ("bundle",)):
        done = command("plugins", *words, path, folder=tmp_path)
        assert done.returncode == 1, done.stderr
        assert "may not be loaded here" in done.stderr
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "plugins.lock").exists()


def test_an_update_does_not_ask_a_repository_that_is_not_allowed(
    git_plugin: Callable[..., str], git_host: GitHost, policy: Put, tmp_path: Path
) -> None:
    """It would tell its host who asks."""
    manifest(tmp_path, echo=entry(git_plugin()))
    policy("allow: []")
    before = git_host.requests

    done = command("plugins", "update", folder=tmp_path)

    assert done.returncode == 1
    assert "may not be loaded here" in done.stderr
    assert git_host.requests == before


def test_verifying_does_not_ask_a_repository_that_is_not_allowed(
    registry: NodeRegistry, git_plugin: Callable[..., str], git_host: GitHost, policy: Put, cache: Path
) -> None:
    """What lies in the cache is looked at; that its tag was not asked for is said."""
    registry.load_plugin("echo", entry(git_plugin()))
    policy("allow: []")
    before = git_host.requests

    found = {each.what: each for each in verify_store(Store(cache))}

    assert isinstance(found["tag"].problem, NotAllowedError)
    assert not found["tag"].differs
    assert found["checkout"].problem is None
    assert git_host.requests == before


@pytest.mark.slow
def test_a_policy_may_ask_for_a_lock_file(
    registry: NodeRegistry, git_plugin: Callable[..., str], policy: Put, tmp_path: Path, cache: Path
) -> None:
    """Without one neither a manifest nor an entry is loaded; with one the manifest is."""
    url = git_plugin()
    policy(f"{allowing(url)}require: {{lock: true}}\n")
    path = manifest(tmp_path, echo=entry(url))

    assert "The policy asks for lock" in refused(registry, entry(url)).message
    with pytest.raises(PluginsLoadError, match="is not locked"):
        registry.load_plugins(path)
    env = {**os.environ, "CUVIS_PLUGINS_DIR": str(cache)}
    subprocess.run([sys.executable, "-m", "cuvis_ai_core", "plugins", "lock", path], env=env, check=True)
    assert registry.load_plugins(path) == 1
    registry.close()
    assert registry.load_plugins(path) == 1
    registry.close()
    (tmp_path / "plugins.lock").unlink()
    with pytest.raises(PluginsLoadError, match="is not locked"):
        registry.load_plugins(path)


@pytest.mark.parametrize("isolation", ["scoped", pytest.param("process", marks=pytest.mark.slow)])
def test_a_policy_may_ask_for_bounds(
    registry: NodeRegistry, local_plugin: Callable[..., Path], policy: Put, isolation: str
) -> None:
    """Of every dependency, also of what was installed before the policy, wherever it runs."""
    common = {"provides": ECHO, "isolation": isolation}
    open_end = {"path": str(local_plugin("open", dependencies=("numpy>=1.20",))), **common}
    bounded = {"path": str(local_plugin("bounded", dependencies=("numpy>=1.20,<9", "x; extra == 'dev'"))), **common}
    registry.load_plugin("echo", open_end)
    registry.unload_plugin("echo")
    policy('allow: [{path: "/**"}]\nrequire: {bounded_dependencies: true}\n')

    error = refused(registry, open_end)
    assert "numpy>=1.20" in error.message
    assert error.rule.endswith(":2")
    registry.load_plugin("echo", bounded)


def test_a_policy_may_ask_for_wheels_only(
    registry: NodeRegistry, local_plugin: Callable[..., Path], policy: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a manifest's `build`, nor a variable, nor an address lets anything be built from source."""
    policy('allow: [{path: "/**"}]\nrequire: {wheels_only: true}\n')
    plain = str(local_plugin("plain"))
    from_source = "numpy @ git+https://127.0.0.1:1/x@" + "0" * 40

    assert "numpy" in refused(registry, {"path": plain, "provides": ECHO, "build": ["numpy"]}).message
    addressed = str(local_plugin("addressed", dependencies=(from_source,)))
    assert "127.0.0.1" in refused(registry, {"path": addressed, "provides": ECHO}).message
    monkeypatch.setenv("CUVIS_ALLOW_BUILD", "numpy")
    refused(registry, {"path": plain, "provides": ECHO})
    monkeypatch.delenv("CUVIS_ALLOW_BUILD")
    registry.load_plugin("echo", {"path": plain, "provides": ECHO})


@pytest.mark.parametrize("isolation", ["scoped", pytest.param("process", marks=pytest.mark.slow)])
@pytest.mark.parametrize("where", ["folder", "tag"])
def test_a_policy_for_wheels_only_is_about_what_builds_a_plugin_too(
    registry: NodeRegistry,
    project_files: Callable[..., dict[str, str]],
    write_files: Callable[[Path, dict[str, str]], Path],
    git_host: GitHost,
    policy: Put,
    tmp_path: Path,
    isolation: str,
    where: str,
) -> None:
    """A build requirement that is only source runs code as well; the plugin itself is built."""

    def declared(name: str, *needs: str) -> dict[str, object]:
        files = project_files()
        files["pyproject.toml"] = files["pyproject.toml"].replace('["uv_build"]', json.dumps(["uv_build", *needs]))
        place: dict[str, object] = (
            {"path": str(write_files(tmp_path / name, files))}
            if where == "folder"
            else {"repo": git_host.add(f"wheels-{isolation}-{name}", files, tag="v1.0.0"), "tag": "v1.0.0"}
        )
        return {**place, "provides": ECHO, "isolation": isolation}

    policy('allow: [{path: "/**"}, {repo: "http://127.0.0.1:*/**"}]\nrequire: {wheels_only: true}\n')

    error = refused(registry, declared("one", "docopt==0.6.2"))
    assert "for its build: docopt" in error.message
    assert error.rule.endswith(":2")
    registry.load_plugin("echo", declared("two"))


def sign(signing: Any, git_host: GitHost, url: str, tag: str, key: str) -> None:
    """Sign a tag at the host."""
    signing.repository = git_host.root / url.rpartition("/")[2]
    signing.ssh_tag(tag, key, "refs/heads/main")


def test_only_a_tag_that_a_signer_signed_is_loaded(
    registry: NodeRegistry,
    git_plugin: Callable[..., str],
    git_host: GitHost,
    signing: Any,
    policy: Put,
    tmp_path: Path,
) -> None:
    """Also where it is in the cache already; the lock file says by whom."""
    url = git_plugin()
    sign(signing, git_host, url, "v2.0.0", "mira")
    sign(signing, git_host, url, "v3.0.0", "eve")
    registry.load_plugin("echo", entry(url, "v3.0.0"))
    registry.unload_plugin("echo")
    policy(f"{allowing(url, ', signed_by: lab')}signers: {{lab: '{signing.allowed('mira')}'}}\n")

    for tag, reason in (("v1.0.0", "unsigned"), ("v3.0.0", "unknown")):
        error = refused(registry, entry(url, tag))
        assert isinstance(error, SignatureError)
        assert error.reason == reason
    for _ in range(3):
        registry.load_plugin("echo", entry(url, "v2.0.0"))
        registry.unload_plugin("echo")
    path = manifest(tmp_path, echo=entry(url, "v2.0.0"))
    done = command("plugins", "lock", path, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    locked = (tmp_path / "plugins.lock").read_text()
    assert 'signer = "mira@lab.org"' in locked
    assert 'key = "SHA256:' in locked
    assert registry.load_plugins(path) == 1
    registry.close()
    signing.allowed("ben")
    with pytest.raises(PluginsLoadError, match="unknown signer"):
        registry.load_plugins(path)


def test_a_moved_signature_is_refused(
    registry: NodeRegistry, git_plugin: Callable[..., str], git_host: GitHost, signing: Any, policy: Put
) -> None:
    """A host that shows an old signed tag under a new name serves nothing."""
    url = git_plugin()
    sign(signing, git_host, url, "v2.0.0", "mira")
    signing.git("update-ref", "refs/tags/v9.0.0", signing.git("rev-parse", "refs/tags/v2.0.0"))
    policy(f"{allowing(url, ', signed_by: lab')}signers: {{lab: '{signing.allowed('mira')}'}}\n")

    assert isinstance(refused(registry, entry(url, "v9.0.0")), SignatureError)


def test_a_mirror_of_the_users_own_is_said(
    registry: NodeRegistry, git_plugin: Callable[..., str], policy: Put, caplog: pytest.LogCaptureFixture
) -> None:
    """`insteadOf` of the user's git is the user's word; the policy is about the address that is asked for."""
    url = git_plugin()
    host = url.rpartition("/")[0]
    (Path.home() / ".gitconfig").write_text(f'[url "{host}/"]\n\tinsteadOf = https://github.com/our-lab/\n')
    asked = url.replace(host, "https://github.com/our-lab")
    path = policy(allowing("https://github.com/our-lab/*"))

    registry.load_plugin("echo", entry(asked))

    assert f"{asked} is fetched from {url}, as url.….insteadOf of your git configuration says" in caplog.text
    registry.close()
    path.write_text(allowing(f"{host}/*"))
    refused(registry, entry(asked))


def test_a_pickle_brings_back_only_what_is_allowed(
    registry: NodeRegistry, git_plugin: Callable[..., str], policy: Put, cache: Path
) -> None:
    """Data that names a class of a plugin opens its code: the policy is asked."""
    url = git_plugin()
    registry.load_plugin("echo", entry(url))
    data = pickle.dumps(registry.get("Echo"))
    registry.close()
    script = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1])))"

    def read() -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", f"import cuvis_ai_core.scoped; {script}", data.hex()]
        env = {**os.environ, "CUVIS_PLUGINS_DIR": str(cache)}
        return subprocess.run(words, env=env, capture_output=True, text=True, check=False)

    assert read().returncode == 0
    policy("allow: []")
    done = read()
    assert done.returncode != 0
    assert "NotAllowedError" in done.stderr
    policy(allowing(url))
    assert read().returncode == 0
    policy(f"{allowing(url)}require: {{lock: true}}\n")
    assert "is not locked" in read().stderr


@pytest.mark.slow
def test_a_child_process_opens_only_what_is_allowed(
    registry: NodeRegistry, local_plugin: Callable[..., Path], policy: Put
) -> None:
    """What `CUVIS_LIVE_PLUGINS` names is judged again: a variable is no permission."""
    folder = local_plugin()
    registry.load_plugin("echo", {"path": str(folder), "provides": ECHO})
    words = [sys.executable, "-c", f"import {registry.get('Echo').__module__} as found; print(found.__name__)"]

    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
    policy(f'allow: [{{path: "{folder}"}}]')
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
    policy("allow: []")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "NotAllowedError" in done.stderr


@pytest.mark.slow
def test_a_lock_file_that_says_scoped_does_not_go_before_the_policy(
    registry: NodeRegistry, git_plugin: Callable[..., str], policy: Put, tmp_path: Path, cache: Path
) -> None:
    """What the policy has apart is locked anew, for a process of its own."""
    url = git_plugin()
    path = manifest(tmp_path, echo=entry(url))
    env = {**os.environ, "CUVIS_PLUGINS_DIR": str(cache)}
    subprocess.run([sys.executable, "-m", "cuvis_ai_core", "plugins", "lock", path], env=env, check=True)
    policy(f"{allowing(url, ', kind: community')}isolation: {{community: process}}\n")

    with pytest.raises(LockError, match="isolation of 'echo' is 'process', but locked as 'scoped'"):
        registry.load_plugins(path)
    locked = tmp_path / "plugins.lock"
    locked.write_text(locked.read_text().replace('isolation = "scoped"', 'isolation = "scoped"\napart_by = "policy"'))
    with pytest.raises(LockError, match="but locked as 'scoped'"):
        registry.load_plugins(path)


@pytest.mark.slow
def test_what_the_policy_has_apart_runs_in_a_process(
    registry: NodeRegistry, local_plugin: Callable[..., Path], policy: Put
) -> None:
    """Whatever the manifest says."""
    policy('allow: [{path: "/**", kind: community}]\nisolation: {community: process}\n')
    registry.load_plugin("echo", {"path": str(local_plugin()), "provides": ECHO, "isolation": "scoped"})

    assert ".envs" in str(registry.plugin_info("echo").target)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_commands_for_authors_run_and_ask_nothing_that_no_rule_allows(
    git_plugin: Callable[..., str],
    git_host: GitHost,
    project_files: Callable[..., dict[str, str]],
    write_files: Callable[[Path, dict[str, str]], Path],
    policy: Put,
    tmp_path: Path,
) -> None:
    """A repository is not asked for its tags, and a folder is not built."""
    url = git_plugin()
    files = project_files()
    files["pyproject.toml"] = files["pyproject.toml"].replace("uv_build", "setuptools", 1)
    files["pyproject.toml"] = files["pyproject.toml"].replace('"uv_build"', '"setuptools.build_meta"', 1)
    files["setup.py"] = f"open({str(tmp_path / 'ran')!r}, 'w').close()\nimport setuptools\nsetuptools.setup()\n"
    folder = write_files(tmp_path / "plugin", files)
    policy(allowing("https://github.com/our-lab/*"))
    before = git_host.requests

    for words in (("check", url), ("try", url), ("add", url, "--manifest", "m.yaml")):
        done = command("plugins", *words, folder=tmp_path)
        assert done.returncode != 0
        assert "no rule" in done.stderr or "policy" in done.stderr, done.stderr
    assert git_host.requests == before
    for word in ("check", "try", "add"):
        done = command("plugins", word, folder, folder=tmp_path)
        assert done.returncode != 0, done.stdout
        assert "policy" in done.stdout + done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_a_tag_that_is_not_signed_as_asked_is_not_checked(
    git_plugin: Callable[..., str], git_host: GitHost, signing: Any, policy: Put, tmp_path: Path
) -> None:
    """Checking builds it, which runs its code."""
    url = git_plugin()
    sign(signing, git_host, url, "v2.0.0", "mira")
    policy(f"{allowing(url, ', signed_by: lab')}signers: {{lab: '{signing.allowed('mira')}'}}\n")
    refused = command("plugins", "check", f"{url}@v1.0.0", folder=tmp_path)
    assert refused.returncode != 0
    assert "signed" in refused.stderr
    assert "Building" not in refused.stderr
    assert command("plugins", "check", f"{url}@v2.0.0", folder=tmp_path).returncode in {0, 1}
