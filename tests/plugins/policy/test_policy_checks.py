"""What each step of a load asks the policy, asked directly: no plugin is fetched, built or opened."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import NotAllowedError, SignatureError
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.policy.file_location import deciding_variables, may_be_there, none_is_there, places

Put = Callable[[str], Path]

REPO = GitPlugin(repo="https://a.org/x/y", tag="v1", provides=("any.Node",))

HASH = "0123456789" * 4


def test_without_a_policy_every_answer_is_yes(tmp_path: Path) -> None:
    """Nothing is asked for, and nothing has to be looked at again."""
    plugins = {"one": REPO}
    assert policy_checks.holds_for_good()
    assert policy_checks.under_policy(plugins) is plugins
    assert policy_checks.judged("one", REPO, own_process=False) is None
    assert policy_checks.refused_distributions({"one": "one"}) == {}
    assert not policy_checks.asks_for_wheels()
    policy_checks.refuse_unlocked("one")
    policy_checks.refuse_requirements("one", ["numpy"])
    policy_checks.refuse_built("one", ["numpy"])
    policy_checks.refuse_stored(tmp_path, "one@abc", [])


@pytest.mark.parametrize(
    ("requirement", "bounded"),
    [
        ("numpy", False),
        ("numpy>=1", False),
        ("numpy>1", False),
        ("numpy!=2", False),
        ("numpy>=1,!=2", False),
        ("numpy<3", True),
        ("numpy<=3", True),
        ("numpy==1.*", True),
        ("numpy===1.0", True),
        ("numpy~=1.2", True),
        ("numpy>=1,<3; python_version>'3'", True),
        ("numpy @ https://a.org/numpy-1.0-py3-none-any.whl", True),
        ("numpy @ https://a.org/numpy-1.0-py3-none-any.whl#sha256=00", True),
        ("numpy @ https://a.org/numpy-1.0.tar.gz", False),
        ("numpy @ https://a.org/numpy.whl.tar.gz", False),
        ("numpy @ git+https://a.org/numpy", False),
        ("numpy @ git+https://a.org/numpy@main", False),
        (f"numpy @ git+https://a.org/numpy@{HASH}", True),
        (f"numpy @ git+https://a.org/numpy@{HASH[1:]}", False),
    ],
)
def test_what_bounds_a_requirement(requirement: str, bounded: bool) -> None:  # noqa: FBT001
    """Only what no later version meets has a bound above: a whole version, an end, one file, one commit."""
    assert policy_checks.unbounded([requirement]) == ([] if bounded else [requirement])


def test_bounds_are_asked_of_what_counts_here(policy: Put) -> None:
    """All that have none are named, of extras only those that are wanted, and how a bound is written."""
    path = policy("allow: []\nrequire:\n  wheels_only: true\n  bounded_dependencies: true\n")
    needs = ["b>1", "a", "c<2", "d; python_version<'3'", "e; extra=='more'"]

    with pytest.raises(NotAllowedError) as caught:
        policy_checks.refuse_requirements("echo", needs)
    assert caught.value.message == (
        "Plugin 'echo' has dependencies without an upper bound: b>1, a. "
        f"The policy asks for bounded_dependencies ({path}:4)."
    )
    assert caught.value.rule == f"{path}:4"
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(f"Ask its author for bounds, as in b>=1,<2. Who writes {path}")
    assert caught.value.hint.endswith("can change that.")
    policy_checks.refuse_requirements("echo", needs[2:])
    with pytest.raises(NotAllowedError, match="extra"):
        policy_checks.refuse_requirements("echo", needs[2:], ["more"])


def test_a_policy_that_asks_for_one_thing_asks_for_no_other(policy: Put) -> None:
    """Bounds, wheels and a lock file are asked for one by one."""
    source = "a @ https://a.org/a-1.tar.gz"
    policy("allow: []\nrequire: {bounded_dependencies: true}")
    policy_checks.refuse_unlocked("echo")
    policy_checks.refuse_built("echo", ["a"])
    policy_checks.refuse_sources("echo", [source])
    assert not policy_checks.asks_for_wheels()
    path = policy("allow: []\nrequire: {wheels_only: true}\n# longer")
    policy_checks.refuse_unlocked("echo")
    policy_checks.refuse_requirements("echo", ["a"])
    assert policy_checks.asks_for_wheels()
    policy_checks.refuse_built("echo", [])
    with pytest.raises(NotAllowedError) as caught:
        policy_checks.refuse_built("echo", ["b", "a", "b"])
    assert "would have this built from source, to run or for its build: a, b. The policy" in caught.value.message
    assert f"wheels_only ({path}:2)" in caught.value.message
    assert "Leave 'build' and CUVIS_ALLOW_BUILD away, and take versions" in str(caught.value.hint)
    with pytest.raises(NotAllowedError, match="built from source"):
        policy_checks.refuse_requirements("echo", [source])
    path = policy("allow: []\nrequire: {lock: true}")
    policy_checks.refuse_sources("echo", [source])
    policy_checks.refuse_requirements("echo", ["a", source])
    with pytest.raises(NotAllowedError, match=r"Plugin 'echo' is not locked\. The policy asks for lock") as caught:
        policy_checks.refuse_unlocked("echo")
    assert str(caught.value.hint).startswith("Write a lock file: cuvis-ai plugins lock Who writes")


@pytest.mark.parametrize(
    ("pin", "wheel"),
    [
        ("a==1", True),
        ("a @ https://a.org/a-1-py3-none-any.whl", True),
        ("a @ https://a.org/a-1-py3-none-any.whl#sha256=00", True),
        ("a @ https://a.org/a-1-py3-none-any.whl ; python_version>'3'", True),
        ("a @ https://a.org/a-1.zip", False),
        ("a @ https://a.org/a-1.zip#egg=a.whl", False),
        ("a @ git+https://a.org/a", False),
    ],
)
def test_only_addresses_of_wheels_need_no_build(policy: Put, pin: str, wheel: bool) -> None:  # noqa: FBT001
    """What stands behind an address, its hash or a marker, says nothing about the kind of file."""
    policy("allow: []\nrequire: {wheels_only: true}")
    if wheel:
        policy_checks.refuse_sources("echo", [pin])
    else:
        with pytest.raises(NotAllowedError):
            policy_checks.refuse_sources("echo", ["b==1", pin])


@pytest.mark.parametrize("named", ["numpy", " , numpy ,", "scipy,numpy"])
def test_builds_that_a_variable_allows_are_refused_by_a_policy(
    policy: Put, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """The policy goes before the user's environment; blanks between names are none."""
    policy("allow: [{repo: 'https://a.org/**'}]\nrequire: {wheels_only: true}")
    for nothing in ("", " , "):
        monkeypatch.setenv("CUVIS_ALLOW_BUILD", nothing)
        assert policy_checks.judged("one", REPO, own_process=False) is not None
    monkeypatch.setenv("CUVIS_ALLOW_BUILD", named)
    with pytest.raises(NotAllowedError, match="numpy"):
        policy_checks.judged("one", REPO, own_process=False)


def test_a_kind_that_runs_apart_does_not_run_here(policy: Put) -> None:
    """With a process of its own it may be loaded, and that is what its entry becomes; others stay as they are."""
    path = policy(
        "allow:\n - {repo: 'https://a.org/**', kind: community}\n - {repo: 'https://b.org/**', kind: official}\n"
        "isolation: {community: process, official: scoped}"
    )
    other, strange = (REPO.model_copy(update={"repo": f"https://{host}.org/x"}) for host in "bc")
    apart = REPO.model_copy(update={"isolation": "process"})

    with pytest.raises(NotAllowedError) as caught:
        policy_checks.judged("one", REPO, own_process=False)
    assert caught.value.message == (f"Plugin 'one' is community ({path}:2): it may run in a process of its own only.")
    assert str(caught.value.hint).startswith("Write isolation: process in its manifest entry, and lock again")
    assert (caught.value.plugin, caught.value.rule) == ("one", f"{path}:2")
    assert policy_checks.judged("one", REPO, own_process=True) is not None
    assert policy_checks.judged("two", other, own_process=False) is not None
    seen = policy_checks.under_policy({"one": REPO, "two": other, "three": strange, "four": apart})
    assert [each.isolation for each in seen.values()] == ["process", other.isolation, strange.isolation, "process"]
    assert list(seen) == ["one", "two", "three", "four"]
    assert seen["four"] is apart


def test_installed_plugins_that_no_rule_allows_are_named_with_the_reason(policy: Put) -> None:
    """The others take part."""
    policy("allow: [{distribution: 'cuvis-ai-*'}]")
    refused = policy_checks.refused_distributions({"good": "Cuvis_AI.Good", "bad": "other", "worse": "cuvis"})
    assert {name: error.plugin for name, error in refused.items()} == {"bad": "bad", "worse": "worse"}


@pytest.mark.parametrize(
    ("allowed", "judged", "passes"),
    [
        ("/project", "project/src", True),
        ("/*", "project/src", True),
        ("/project/src", "project/src", True),
        ("/outer", "outer/project/src", True),
        ("/other", "project/src", False),
        ("/plain", "plain/src", False),
        ("/plain/src", "plain/src", True),
    ],
)
def test_a_folder_of_code_is_judged_by_its_project(
    policy: Put,
    tmp_path: Path,
    allowed: str,
    judged: str,
    passes: bool,  # noqa: FBT001
) -> None:
    """A policy names the project's folder, and what is recorded of a local plugin is a folder in it."""
    for project in ("project", "outer", "outer/project"):
        (tmp_path / "code" / project / "src").mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / project / "pyproject.toml").touch()
    policy(f"allow: [{{path: '{tmp_path}/code{allowed}'}}]")
    code = tmp_path / "code" / judged
    if passes:
        policy_checks.refuse_stored(tmp_path, "echo@00", ["", str(code)])
    else:
        with pytest.raises(NotAllowedError) as caught:
            policy_checks.refuse_stored(tmp_path, "echo@00", [str(code)])
        named = code if judged.startswith("plain") else code.parent
        assert f"allows the folder {code} in this process." in caught.value.message
        assert f'path: "{named}"' in str(caught.value.hint)
        assert caught.value.plugin == "echo"


def test_every_folder_of_code_is_judged(policy: Put, tmp_path: Path) -> None:
    """One that is allowed says nothing of the next, and a kind that runs apart is not opened here."""
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    good, bad = (str(tmp_path / name) for name in ("good", "bad"))
    policy(f"allow: [{{path: '{good}'}}]")
    policy_checks.refuse_stored(tmp_path, "echo@00", [good])
    with pytest.raises(NotAllowedError):
        policy_checks.refuse_stored(tmp_path, "echo@00", [good, bad])
    policy(f"allow: [{{path: '{good}', kind: private}}]\nisolation: {{private: process}}")
    with pytest.raises(NotAllowedError):
        policy_checks.refuse_stored(tmp_path, "echo@00", [good])


def test_what_is_in_the_cache_and_known_by_nothing_is_not_opened(policy: Put, tmp_path: Path) -> None:
    """Without a marker and without code of its own nobody can tell where it is from."""
    policy("allow: [{repo: 'https://*/**'}, {path: '/**'}]")
    with pytest.raises(NotAllowedError, match=f"'echo@00' of {tmp_path}, whose repository is not known any more"):
        policy_checks.refuse_stored(tmp_path, "echo@00", ["", ""])


def test_the_files_that_decide_are_the_policy_and_its_signers(
    policy: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are not there yet count, and those of a broken policy too; a folder of keys may expire."""
    assert policy_checks.deciding_files() == places()
    assert len(places()) > 1
    (tmp_path / "keys").mkdir()
    (tmp_path / "allowed").touch()
    path = policy("allow: []\nsigners: {a: allowed}")
    assert policy_checks.deciding_files() == [str(path), str(path), str(tmp_path / "allowed")]
    assert policy_checks.holds_for_good()
    policy("allow: []\nsigners: {a: allowed, b: keys}")
    assert policy_checks.deciding_files()[2:] == [str(tmp_path / "allowed"), str(tmp_path / "keys")]
    assert not policy_checks.holds_for_good()
    policy("alow: []")
    assert policy_checks.deciding_files() == [str(path)]
    monkeypatch.setenv("CUVIS_POLICY", "  ")
    assert len(places()) > 1


@pytest.mark.parametrize("variable", ["CUVIS_POLICY", "HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "APPDATA"])
def test_each_variable_that_decides_is_part_of_what_is_recorded(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """A load under other variables may be under another policy."""
    before = deciding_variables()
    monkeypatch.setenv(variable, "/another")
    assert deciding_variables() != before


def test_where_a_policy_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole paths only, in their order; a name from the home folder; no variable is the usual folders."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"/first{os.pathsep}relative{os.pathsep}/second")
    assert places() == [f"{folder}/cuvis-ai/policy.yaml" for folder in (tmp_path, "/first", "/second")]
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("XDG_CONFIG_DIRS")
    assert places() == [f"{folder}/cuvis-ai/policy.yaml" for folder in (Path.home() / ".config", "/etc/xdg")]
    monkeypatch.setenv("CUVIS_POLICY", "~/lab.yaml")
    assert places() == [str(Path.home() / "lab.yaml")]
    assert not none_is_there()


def test_what_may_be_there(tmp_path: Path) -> None:
    """A link to nowhere is there; below a file nothing is; where looking fails, something may be."""
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    found = {name: may_be_there(str(tmp_path / name)) for name in ("link", "file", "file/x", "gone", "x" * 300)}
    assert found == {"link": True, "file": True, "file/x": False, "gone": False, "x" * 300: True}


def test_a_folder_that_a_manifest_names_is_judged_with_its_subdirectory(policy: Put, tmp_path: Path) -> None:
    """What is built is the project below it."""
    policy(f"allow: [{{path: '{tmp_path}/one/below'}}]")
    (tmp_path / "one" / "below").mkdir(parents=True)
    entry = LocalPlugin(path=tmp_path / "one", provides=("any.Node",))
    with pytest.raises(NotAllowedError, match="may not be loaded here"):
        policy_checks.judged("one", entry, own_process=False)
    below = entry.model_copy(update={"subdirectory": "below"})
    assert policy_checks.judged("one", below, own_process=False) is not None


def test_a_signature_is_asked_for_where_the_rule_does(policy: Put, signing: Any) -> None:
    """By one of the rule's signers; without a policy, and under a rule that names none, nobody looks."""
    signing.ssh_tag("v1", "mira")
    signing.ssh_tag("v2", "stranger")
    source = Source(signing.repository, signing.head(), "content")
    assert policy_checks.signed("one", REPO, source) is None
    policy("allow: [{repo: 'https://a.org/**'}]")
    assert policy_checks.signed("one", REPO, source) is None
    policy(f"allow: [{{repo: 'https://a.org/**', signed_by: lab}}]\nsigners: {{lab: '{signing.allowed('mira')}'}}")
    found = policy_checks.signed("one", REPO, source)
    assert found is not None
    assert found.signer == "mira@lab.org"
    with pytest.raises(SignatureError):
        policy_checks.signed("one", REPO.model_copy(update={"tag": "v2"}), source)
    with pytest.raises(NotAllowedError):
        policy_checks.signed("one", REPO.model_copy(update={"repo": "https://b.org/x"}), source)
