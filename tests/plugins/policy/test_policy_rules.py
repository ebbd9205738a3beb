"""One file says what may be loaded here; what it does not allow is refused with the place that says so."""

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import NotAllowedError, PolicyError
from cuvis_ai_core.plugins.policy.file_location import places
from cuvis_ai_core.plugins.policy.policy_rules import Policy, find_policy
from cuvis_ai_core.plugins.policy.policy_schema import policy_schema
from cuvis_ai_core.plugins.policy.quick_check import surely_allows

SCHEMA = Path(__file__).parents[3] / "docs" / "reference" / "policy.schema.json"
REGENERATE = (
    'python -c "import json; from cuvis_ai_core.plugins.policy.policy_schema import policy_schema; '
    'print(json.dumps(policy_schema(), indent=2))"'
    " > docs/reference/policy.schema.json"
)

DRAWN = """\
allow:
  - {repo: "https://github.com/our-lab/*", signed_by: lab_signers}     # kind: private
  - {repo: "https://github.com/cubert-hyperspectral/*", kind: official}
  - {path: "plugins/*", kind: private}
  - {distribution: "cuvis-ai-*", kind: official}
  - {repo: "https://github.com/*/*", kind: community}
signers:
  lab_signers: allowed_signers
require: {lock: true, bounded_dependencies: true, wheels_only: true}
isolation: {community: process}
"""

NO_PATTERN = "is no pattern of addresses; write https://host/owner/*, or https://*/** for all"
BESIDE = "has a '*' beside other signs of the host; it stands for a whole part of it"
OTHER = "is not possible here; did you mean"

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a policy, with a file of signers beside it."""

    def write(text: str) -> Path:
        (tmp_path / "allowed_signers").write_text("a@lab.org ssh-ed25519 AAAA\n")
        path = tmp_path / "policy.yaml"
        path.write_text(text)
        return path

    return write


def problems(path: Path) -> list[str]:
    """Read a broken policy and return what is said about it, line by line, without the path."""
    with pytest.raises(PolicyError) as caught:
        Policy.read(path)
    return [line.replace(f"{path}:", "") for line in caught.value.message.splitlines()]


def test_a_policy_as_it_is_drawn_is_read(write: Write, tmp_path: Path) -> None:
    """Rules give a kind and signers; the place of a rule is its line."""
    policy = Policy.read(write(DRAWN))

    lab = policy.judge("git@github.com:our-lab/x.git")
    assert (lab.kind, lab.rule, lab.apart) == ("private", f"{policy.path}:2", False)
    assert lab.signers == tmp_path / "allowed_signers"
    assert policy.judge("https://github.com/cubert-hyperspectral/x").kind == "official"
    other = policy.judge("https://github.com/somebody/x")
    assert (other.kind, other.apart, other.signers) == ("community", True, None)
    assert policy.judge(tmp_path / "plugins" / "mine").kind == "private"
    assert policy.judge_distribution("Cuvis_AI.Adaclip").kind == "official"
    assert policy.require.lock
    assert policy.require.wheels_only


def test_the_first_rule_that_fits_decides(write: Write) -> None:
    """A wider rule below does not take away what a narrower one asks."""
    policy = Policy.read(write(DRAWN))

    assert policy.judge("https://github.com/our-lab/x").signers is not None


def test_a_refusal_names_the_rule_what_was_asked_and_who_can_change_it(write: Write) -> None:
    """It names file and line, the address as it is compared, and the owner of the file; no password."""
    policy = Policy.read(write("# of the lab\nallow:\n  - {repo: 'https://github.com/our-lab/*'}\n"))

    with pytest.raises(NotAllowedError) as caught:
        policy.judge("https://user:secret@GitHub.com:443/Evil/x.git", "echo")

    text = str(caught.value)
    assert "Plugin 'echo' may not be loaded here" in text
    assert f"{policy.path}:2" in text
    assert "https://GitHub.com:443/Evil/x.git" in text
    assert "compared as github.com/Evil/x" in text
    assert f"Who writes {policy.path}" in text
    assert "secret" not in text
    assert caught.value.rule == f"{policy.path}:2"


def test_a_refusal_says_what_would_allow_it(write: Write, tmp_path: Path) -> None:
    """For an address that is not plain, a folder and a distribution, each in its words; without a name it says less."""
    policy = Policy.read(write("allow: []"))

    def said(ask: Callable[[], object]) -> tuple[str, str, str | None]:
        with pytest.raises(NotAllowedError) as caught:
            ask()
        rule = str(caught.value.hint).partition(": - ")[2]
        return caught.value.message.partition(" allows ")[2], rule, caught.value.plugin

    strange, folder = "https://a.org/..", os.path.realpath(tmp_path / "x")
    assert said(lambda: policy.judge(strange)) == (
        f"{strange}, an address that is not plain.",
        f'{{repo: "{strange}", kind: community}}',
        None,
    )
    assert said(lambda: policy.judge(tmp_path / "x", "echo")) == (
        f"the folder {folder}.",
        f'{{path: "{folder}", kind: community}}',
        "echo",
    )
    assert said(lambda: policy.judge_distribution("My.Nodes", "echo")) == (
        "the installed distribution 'My.Nodes'.",
        "{distribution: my-nodes, kind: community}",
        "echo",
    )
    with pytest.raises(NotAllowedError, match=r"^This may not be loaded here: no rule below 'allow'"):
        policy.judge(strange)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("cuvis-ai-*", "cuvis_ai.x", True),
        ("Cuvis_AI_*", "cuvis-ai-x", True),
        ("zope.interface", "zope.interface", True),
        ("zope.*", "zope-interface", True),
        ("a__b", "a-b", True),
        ("cuvis-ai-*", "cuvis-ai", False),
        ("cuvis", "cuvis-ai", False),
        ("[ab]-x", "b_x", True),
        ("*", "any", True),
    ],
)
def test_names_of_distributions_are_compared_as_pip_does(write: Write, pattern: str, name: str, fits: bool) -> None:  # noqa: FBT001
    """Letters, dots and lines of a name make no difference, in the pattern as in the name."""
    policy = Policy.read(write(f"allow: [{{path: /**}}, {{distribution: '{pattern}', kind: official}}]"))
    if fits:
        assert policy.judge_distribution(name).kind == "official"
    else:
        with pytest.raises(NotAllowedError):
            policy.judge_distribution(name)


def test_a_rule_is_about_one_kind_of_source(write: Write, tmp_path: Path) -> None:
    """A pattern for all addresses allows no folder, one for all folders no distribution; each rule has its line."""
    rules = ["{repo: 'https://*/**'}", "{path: /**}", "{distribution: '*'}"]
    asked: list[str | Path | None] = ["https://a.org/x", tmp_path, None]
    policy = Policy.read(write("require:\n  wheels_only: true\nallow:\n" + "".join(f"  - {rule}\n" for rule in rules)))

    def judged(policy: Policy, ask: str | Path | None) -> str:
        return (policy.judge_distribution("x") if ask is None else policy.judge(ask)).rule.rpartition(":")[2]

    assert [judged(policy, ask) for ask in asked] == ["4", "5", "6"]
    assert policy.place_of("wheels_only") == f"{policy.path}:2"
    assert policy.place_of("lock") == f"{policy.path}:1"
    for place, ask in enumerate(asked):
        fewer = Policy.read(write("allow:\n" + "".join(f"  - {rule}\n" for rule in rules if rule != rules[place])))
        with pytest.raises(NotAllowedError):
            judged(fewer, ask)


def test_only_the_kinds_that_are_named_run_apart(write: Write) -> None:
    """`scoped` is this process, as is what is not named."""
    policy = Policy.read(
        write(
            "allow: [{repo: 'https://a.org/*', kind: official}, {repo: 'https://b.org/*', kind: community}, "
            "{repo: 'https://c.org/*'}]\nisolation: {official: scoped, private: process}"
        )
    )
    assert [policy.judge(f"https://{host}.org/x").apart for host in "abc"] == [False, False, True]


def test_a_pattern_of_folders_is_taken_as_written(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the home folder with `~`; signs of a pattern begin where they stand, and links behind them count."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for pattern, folder, fits in [
        ("~/plugins/*", "home/plugins/a", True),
        ("~/plugins/*", "plugins/a", False),
        ("plug?ns/a", "plugins/a", True),
        ("pl[iu]gins/a", "plugins/a", True),
        ("pl[io]gins/a", "plugins/a", False),
        ("**/a", "plugins/a", True),
    ]:
        policy = Policy.read(write(f"allow: [{{path: '{pattern}'}}]"))
        if fits:
            assert policy.judge(tmp_path / folder).kind == "private"
        else:
            with pytest.raises(NotAllowedError):
                policy.judge(tmp_path / folder)


def test_folders_are_compared_as_they_really_lie(write: Write, tmp_path: Path) -> None:
    """A link into an allowed folder from it leads out; a `..` does; a link to it leads in."""
    policy = Policy.read(write("allow: [{path: 'plugins/*'}]"))
    (tmp_path / "plugins").mkdir()
    (tmp_path / "evil").mkdir()
    (tmp_path / "plugins" / "link").symlink_to(tmp_path / "evil")
    (tmp_path / "alias").symlink_to(tmp_path / "plugins")

    assert policy.judge(tmp_path / "alias" / "mine").kind == "private"
    for folder in ("evil", "plugins/link", "plugins/../evil", "plugins", "plugins/mine/deeper"):
        with pytest.raises(NotAllowedError):
            policy.judge(tmp_path / folder)


def test_a_pattern_of_folders_may_lie_behind_a_link(tmp_path: Path, write: Write) -> None:
    """Who writes `/srv/plugins/*` means where that leads."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "srv").symlink_to(tmp_path / "disk")
    policy = Policy.read(write(f"allow: [{{path: '{tmp_path}/srv/*'}}]"))

    assert policy.judge(tmp_path / "srv" / "mine").rule == f"{policy.path}:1"
    assert policy.judge(tmp_path / "disk" / "mine").rule == f"{policy.path}:1"


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("allow: []\nalow: []", 2, "alow: is an unknown key; did you mean 'allow'?"),
        ("", 1, "allow: is missing; write which plugins may be loaded, or 'allow: []' for none"),
        ("allow: {repo: x}", 1, "allow: is a mapping, not a list; write a line with '- ' for each rule"),
        ("allow:\n  - {repo: 'https://a.org/*', knd: x}", 2, "allow[0].knd: is an unknown key; did you mean 'kind'?"),
        ("allow:\n  - {rep: x}", 2, "allow[0]: has neither repo, path nor distribution; did you mean 'repo'?"),
        ("allow:\n  - {repo: x, path: /x}", 2, "allow[0]: has repo and path; write a rule for each"),
        (
            "allow: [{path: /x, kind: oficial}]",
            1,
            "allow[0].kind: 'oficial' is not possible here; did you mean 'official'?",
        ),
        ("allow: [{repo: '*'}]", 1, f"allow[0].repo: '*' {NO_PATTERN}"),
        ("allow: [{repo: 'https://a.org/../*'}]", 1, f"allow[0].repo: 'https://a.org/../*' {NO_PATTERN}"),
        (
            "allow: [{repo: 'https://*lab.org/x'}]",
            1,
            f"allow[0].repo: 'https://*lab.org/x' {BESIDE}",
        ),
        ("allow: [{path: 'a/../b'}]", 1, "allow[0].path: 'a/../b' has a '..' in it; write the path without"),
        ("allow: [{repo: 7}]", 1, "allow[0].repo: is the number 7, not text; write one value in quotes"),
        (
            "allow: [https://a.org/x]",
            1,
            'allow[0]: is a single text; a rule is a mapping, as in {repo: "https://github.com/our-lab/*"}',
        ),
        ("allow: []\nrequire: {lock: maybe}", 2, "require.lock: is a single text; write true or false"),
        ("allow: []\nrequire: {locks: true}", 2, "require.locks: is an unknown key; did you mean 'lock'?"),
        ("allow: []\nisolation: {community: proces}", 2, f"isolation.community: 'proces' {OTHER} 'process'?"),
        ("allow: []\nisolation: {comunity: process}", 2, f"isolation.comunity: 'comunity' {OTHER} 'community'?"),
        (
            "allow:\n - {repo: 'https://a.org/*', signed_by: lab}\nsigners: {labs: allowed_signers}",
            2,
            "allow[0].signed_by: 'lab' does not stand below 'signers'; did you mean 'labs'?",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(write: Write, text: str, line: int, expected: str) -> None:
    """A policy is checked as strictly as a manifest: unknown keys, near names, kinds of values."""
    assert problems(write(text)) == [f"{line}: {expected}"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("path: ''", "path: '' is no pattern of folders; write /srv/plugins/*, or /** for all"),
        ("path: //", "path: '//' is no pattern of folders; write /srv/plugins/*, or /** for all"),
        (r'path: "/a\0b"', r"path: '/a\x00b' is no pattern of folders; write /srv/plugins/*, or /** for all"),
        *(
            (
                f"distribution: '{text}'",
                f"distribution: '{text}' is no pattern of names of packages; write cuvis-ai-* or a whole name",
            )
            for text in ("", "a b", "a/b", "a;b", "a=1", "a<1", "a>1")
        ),
        ("repo: 'https://lab*.org/x'", f"repo: 'https://lab*.org/x' {BESIDE}"),
        ("repo: 'https://a.org/x', signer: lab", "signer: is an unknown key; did you mean 'signed_by'?"),
        ("repo: 'https://a.org/x', signd_by: lab", "signd_by: is an unknown key; did you mean 'signed_by'?"),
        ("repo: 'https://a.org/x', zzz: 1", "zzz: is an unknown key; known keys: kind, repo, signed_by"),
        ("path: /x, signed_by: lab", "signed_by: is an unknown key; known keys: kind, path"),
        ("distribution: x, zzz: lab", "zzz: is an unknown key; known keys: kind, distribution"),
        ("url: 'https://a.org/x'", ": has neither repo, path nor distribution; did you mean 'repo'?"),
        ("Folder: /x", ": has neither repo, path nor distribution; did you mean 'path'?"),
        ("zzz: 1, package: x", ": has neither repo, path nor distribution; did you mean 'distribution'?"),
        ("zzz: 1, pth: x", ": has neither repo, path nor distribution; did you mean 'path'?"),
        ("zzz: 1", ": has neither repo, path nor distribution; a rule has one of them"),
        ("kind: private", ": has neither repo, path nor distribution; a rule has one of them"),
        ("distribution: x, path: /x, repo: x", ": has repo and path and distribution; write a rule for each"),
        ("path: /x, kind: zzz", "kind: 'zzz' is not possible here; possible are official, private, community"),
    ],
)
def test_what_is_wrong_with_a_rule_is_named(write: Write, rule: str, expected: str) -> None:
    """The keys that others call so are known, and what would have been right is said."""
    expected = expected.removeprefix(": ") if expected.startswith(": ") else f".{expected}"
    between = ": " if expected.startswith("has ") else ""
    assert problems(write(f"allow:\n  - {{path: /y}}\n  - {{{rule}}}")) == [f"3: allow[1]{between}{expected}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- {path: /x}", "is a list, not a mapping"),
        ("deny: []\nallow: []", "deny: is an unknown key; did you mean 'allow'?"),
        ("zzz: []\nallow: []", "zzz: is an unknown key; known keys: allow, signers, require, isolation"),
        (r'"a\tb": 1' + "\nallow: []", r"'a\tb': is an unknown key; known keys: allow, signers, require, isolation"),
        ("require: []\nallow: []", "require: is a list, not a mapping"),
        (
            "require: {zzz: 1}\nallow: []",
            "require.zzz: is an unknown key; known keys: lock, bounded_dependencies, wheels_only",
        ),
        (
            "require: {deny: 1}\nallow: []",
            "require.deny: is an unknown key; known keys: lock, bounded_dependencies, wheels_only",
        ),
        ("require: {lock: 1}\nallow: []", "require.lock: is the number 1; write true or false"),
        ("signers: []\nallow: []", "signers: is a list, not a mapping"),
        ("signers: {a: 7}\nallow: []", "signers.a: is the number 7, not text; write one value in quotes"),
        (
            "isolation: {official: zzz}\nallow: []",
            "isolation.official: 'zzz' is not possible here; possible are scoped, process",
        ),
        (
            "allow: [{repo: 'https://a.org/*', signed_by: lab}]",
            "allow[0].signed_by: 'lab' does not stand below 'signers'; name a file or a folder of keys there",
        ),
    ],
)
def test_what_is_wrong_elsewhere_is_named(write: Write, text: str, expected: str) -> None:
    """Values of another kind, and keys that are known in other places only."""
    assert problems(write(text)) == [f"1: {expected}"]


def test_of_many_problems_the_first_are_said(write: Write) -> None:
    """In the order of their lines; a screen is not filled with the others, but they are counted."""
    rules = "".join(f"  - {{path: {number}}}\n" for number in range(25))
    assert problems(write(f"allow:\n{rules}")) == [
        *(
            f"{number + 2}: allow[{number}].path: is the number {number}, not text; write one value in quotes"
            for number in range(20)
        ),
        "... and 5 more",
    ]
    assert len(problems(write("allow:\n" + "".join("  - {path: 7}\n" for _ in range(20))))) == 20
    assert [line.partition(":")[0] for line in problems(write("zzz: 1\nallow: [{path: 7}]\nyyy: 1"))] == ["1", "2", "3"]


def test_a_broken_policy_shows_what_one_looks_like(write: Write) -> None:
    """No plugin is loaded until it is right, and no password that somebody wrote into it is shown."""
    path = write("allow: [{repo: 'https://u:secret@a.org/..'}]")
    with pytest.raises(PolicyError) as caught:
        Policy.read(path)
    assert caught.value.path == path
    assert str(caught.value.hint).startswith("A policy looks like this:\n  allow:\n")
    assert str(caught.value.hint).endswith("\nNo plugin is loaded until it is right.")
    assert "secret" not in str(caught.value)


def test_all_that_is_wrong_is_said_at_once(write: Write) -> None:
    """Who mends a policy does it once."""
    assert len(problems(write("allow:\n  - {repo: 7}\n  - {kind: x}\nrequire: {loc: true}\n"))) == 3


def test_signers_have_to_be_there(write: Write, tmp_path: Path) -> None:
    """A policy whose signers lie nowhere allows nothing."""
    assert problems(write("allow: []\nsigners: {lab: nowhere}")) == [
        f"2: signers.lab: {tmp_path / 'nowhere'} is not there"
    ]


def test_a_policy_that_everybody_may_write_is_refused(write: Write) -> None:
    """What a stranger can edit says nothing."""
    path = write("allow: []\nsigners: {lab: allowed_signers}")
    for mode in (0o666, 0o1666, 0o602):
        path.chmod(mode)
        with pytest.raises(PolicyError) as caught:
            Policy.read(path)
        assert caught.value.message.startswith(f"Everybody may write the policy {path}: it proves nothing.")
        assert str(caught.value.hint).endswith(f"chmod o-w {path}")
    path.chmod(0o660)
    signers = path.with_name("allowed_signers")
    signers.chmod(0o666)
    with pytest.raises(PolicyError) as caught:
        Policy.read(path)
    assert caught.value.message.startswith(f"Everybody may write {signers}, which the policy {path} needs: it proves")
    assert str(caught.value.hint).endswith(f"chmod o-w {signers}")


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
@pytest.mark.parametrize("opened", ["link", "file"])
def test_a_policy_behind_a_link_that_everybody_may_turn_is_refused(write: Write, tmp_path: Path, opened: str) -> None:
    """Both folders decide: that of the link, and that of the file."""
    for folder in ("link", "file"):
        (tmp_path / folder).mkdir()
    file = write("allow: []").rename(tmp_path / "file" / "policy.yaml")
    link = tmp_path / "link" / "policy.yaml"
    link.symlink_to(file)
    assert Policy.read(link).path == link
    (tmp_path / opened).chmod(0o777)
    with pytest.raises(PolicyError, match=f"chmod o-w {tmp_path / opened}$"):
        Policy.read(link)


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
@pytest.mark.parametrize("opened", ["keys", "keys/mira.asc", "allowed", "below/allowed", "below", "."])
def test_a_policy_whose_signers_or_folder_everybody_may_write_is_refused(
    write: Write, tmp_path: Path, opened: str
) -> None:
    """Whoever adds a key, or puts another file in its place, decides; also where that was changed afterwards."""
    for name in ("keys/mira.asc", "allowed", "below/allowed"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    path = write("allow: []\nsigners: {a: keys, b: allowed, c: below/allowed}")
    Policy.read(path)
    place = tmp_path / opened
    before = place.stat().st_mode
    try:
        place.chmod(0o777)
        with pytest.raises(PolicyError, match="chmod o-w"):
            Policy.read(path)
        place.chmod(0o1777)
        if place.is_dir():
            Policy.read(path)
    finally:
        place.chmod(before)


def test_without_a_policy_there_is_none() -> None:
    """Nothing lies where it is looked for: all that the user names may be loaded."""
    assert find_policy() is None


def test_the_policy_that_a_variable_names_comes_first(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`CUVIS_POLICY`, else the user's configuration folder, else the system's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    found = []
    for folder in ("system", "user"):
        place = tmp_path / folder / "cuvis-ai" / "policy.yaml"
        place.parent.mkdir(parents=True)
        place.write_text("allow: []")
        found.append(find_policy())
    monkeypatch.setenv("CUVIS_POLICY", str(write("allow: []")))
    found.append(find_policy())

    names = [each.path.relative_to(tmp_path).parts[0] for each in found if each is not None]
    assert names == ["system", "user", "policy.yaml"]


def test_a_configuration_folder_that_is_no_whole_path_does_not_count(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in the working directory, a cloned project's, is no policy of this machine."""
    (tmp_path / "here" / "cuvis-ai").mkdir(parents=True)
    write("allow: []").rename(tmp_path / "here" / "cuvis-ai" / "policy.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", "here")
    monkeypatch.setenv("XDG_CONFIG_DIRS", f"here{os.pathsep}")

    assert find_policy() is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the library itself is asked")
def test_folders_are_those_of_platformdirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not imported for that on each load."""
    for own in ("", str(tmp_path / "own")):
        monkeypatch.setenv("XDG_CONFIG_HOME", own)
        monkeypatch.setenv("XDG_CONFIG_DIRS", own)
        expected = platformdirs.user_config_path("cuvis-ai"), platformdirs.site_config_path("cuvis-ai")
        assert places() == [str(each / "policy.yaml") for each in expected]


@pytest.mark.parametrize("named", ["nowhere.yaml", "/dev/null", ".", "bad\x00name"])
def test_a_named_policy_that_is_none_is_no_free_pass(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a policy is named, one must be there: an empty or a missing one allows nothing."""
    if "\0" in named:
        named = "bad\udcffname"
    monkeypatch.setenv("CUVIS_POLICY", os.path.join(tmp_path, named))  # noqa: PTH118 - may be absolute

    with pytest.raises(PolicyError):
        find_policy()


@pytest.mark.parametrize("named", ["policy.yaml", "./policy.yaml", "../policy.yaml"])
def test_a_policy_is_not_named_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """That may be a folder that somebody sent, with a policy of theirs in it."""
    (tmp_path / "sent").mkdir()
    for folder in (tmp_path, tmp_path / "sent"):
        (folder / "policy.yaml").write_text("allow: [{repo: 'https://*/**'}]")
    monkeypatch.chdir(tmp_path / "sent")
    monkeypatch.setenv("CUVIS_POLICY", named)
    with pytest.raises(PolicyError, match="another file in each folder"):
        find_policy()
    assert not surely_allows("https://a.org/x")
    monkeypatch.setenv("CUVIS_POLICY", str(tmp_path / "policy.yaml"))
    assert find_policy() is not None


def test_a_link_to_nowhere_is_no_free_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy on a disk that is not mounted is a policy."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "cuvis-ai").mkdir()
    (tmp_path / "cuvis-ai" / "policy.yaml").symlink_to(tmp_path / "nowhere")

    with pytest.raises(PolicyError, match="cannot be read"):
        find_policy()


def test_a_policy_that_cannot_be_looked_for_is_no_free_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_plugin: Callable[..., Path]
) -> None:
    """As where HOME is that of another user: whoever loads a plugin is told so, and how to mend it."""
    monkeypatch.delenv("CUVIS_POLICY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", f"/{'x' * 300}")  # a place that even root cannot look at
    config = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"]}
    with NodeRegistry(discover=False) as registry, pytest.raises(PolicyError, match="No plugin is loaded"):
        registry.load_plugin("echo", config)

    def stat(_: object, **_options: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", stat)
        patched.setattr(os, "lstat", stat)
        with pytest.raises(PolicyError, match="cannot be read: Permission denied") as refused:
            find_policy()
    assert "Set HOME to a folder of your own" in str(refused.value)


def test_an_edited_policy_is_read_again(write: Write) -> None:
    """What it says now counts."""
    path = write("allow: []")
    with pytest.raises(NotAllowedError):
        Policy.read(path).judge("https://a.org/x")
    path.write_text("allow: [{repo: 'https://a.org/*'}]")

    assert Policy.read(path).judge("https://a.org/x").kind == "private"


def test_the_schema_is_as_the_models_have_it() -> None:
    """Editors check what the program checks."""
    stored = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert stored == policy_schema(), f"write it anew: {REGENERATE}"
