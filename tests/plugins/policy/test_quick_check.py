"""What is told of a policy in a hurry is never more than what the whole check says."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core.plugins.policy.policy_rules import Policy
from cuvis_ai_core.plugins.policy.quick_check import surely_allows

REPOS = ["https://a.org/x/y", "git@a.org:x/y", "http://a.org/x/y", "https://b.org/x/y.git", "https://a.org/x/../y"]

KINDS = st.sampled_from(["official", "private", "community", "Official", None])

RULES = st.one_of(
    st.fixed_dictionaries(
        {
            "repo": st.sampled_from(
                ["https://a.org/x/*", "http://*/**", "https://b.org/**", "a.org/x/y", "https://*b.org/x", ""]
            )
        },
        optional={"kind": KINDS, "signed_by": st.just("lab")},
    ),
    st.fixed_dictionaries({"path": st.sampled_from(["/srv/*", "/srv/../x", 5])}, optional={"kind": KINDS}),
    st.fixed_dictionaries({"distribution": st.sampled_from(["cuvis-ai-*", "a b"])}, optional={"kind": KINDS}),
)

POLICIES = st.fixed_dictionaries(
    {"allow": st.lists(RULES, max_size=4)},
    optional={
        "signers": st.sampled_from([{"lab": "keys"}, {"lab": "gone"}, {"other": "keys", "lab": "keys"}, {"lab": None}]),
        "require": st.sampled_from(
            [
                {"lock": True},
                {"lock": False},
                {"bounded_dependencies": True},
                {"bounded_dependencies": 1},
                {"bounded": True},
                None,
            ]
        ),
        "isolation": st.sampled_from(
            [{"community": "process"}, {}, None, {"community": "Process"}, {"strangers": "process"}, "process"]
        ),
    },
)


@given(POLICIES, st.sampled_from(REPOS))
def test_a_repository_that_is_surely_allowed_is_allowed(content: Mapping[str, object], repo: str) -> None:
    """And the policy is valid: one that is not has nothing fetched."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "policy.yaml")
        path.write_text(json.dumps(content))
        Path(folder, "keys").touch()
        with mock.patch.dict(os.environ, {"CUVIS_POLICY": str(path)}):
            surely = surely_allows(repo)
        if surely:
            whole = Policy.read(path)
            assert whole.judge(repo)
            assert not whole.require.lock


ALLOW = {"repo": "https://a.org/x/*"}

OPEN = os.name == "posix"


@pytest.mark.parametrize(
    ("content", "surely"),
    [
        ({"allow": [ALLOW]}, True),
        ({"allow": [{"path": "/srv/*"}, {"distribution": "cuvis-*"}, ALLOW | {"kind": "community"}]}, True),
        ({"allow": [{"repo": "https://b.org/*"}, ALLOW]}, True),
        ({"allow": [ALLOW | {"signed_by": "lab"}], "signers": {"lab": "keys"}}, True),
        ({"allow": [ALLOW], "require": {"bounded_dependencies": True}}, True),
        ({"allow": [ALLOW], "require": {"bounded_dependencies": False}}, True),
        ({"allow": [ALLOW], "require": {}, "signers": {}, "isolation": {}}, True),
        ({"allow": [ALLOW], "isolation": {"community": "process", "official": "scoped"}}, True),
        ([ALLOW], False),
        ({"allow": [ALLOW], "more": 1}, False),
        ({"require": {}}, False),
        ({"allow": []}, False),
        ({"allow": ALLOW}, False),
        ({"allow": [{"path": "/**"}, {"distribution": "*"}]}, False),
        ({"allow": [{"repo": "https://b.org/**"}]}, False),
        ({"allow": [ALLOW, "x"]}, False),
        ({"allow": [ALLOW, {"path": 5}]}, False),
        ({"allow": [ALLOW, {"path": "a/../b"}]}, False),
        ({"allow": [ALLOW, {"kind": "private"}]}, False),
        ({"allow": [ALLOW, {"path": "/x", "distribution": "x"}]}, False),
        ({"allow": [ALLOW, {"path": "/x", "signed_by": "lab"}], "signers": {"lab": "keys"}}, False),
        ({"allow": [ALLOW, {"distribution": "x", "more": "y"}]}, False),
        ({"allow": [ALLOW | {"kind": "strange"}]}, False),
        ({"allow": [ALLOW | {"more": "y"}]}, False),
        ({"allow": [ALLOW | {"signed_by": "lab"}]}, False),
        ({"allow": [ALLOW | {"signed_by": "lab"}], "signers": {"other": "keys"}}, False),
        ({"allow": [ALLOW], "signers": {"lab": "gone"}}, False),
        ({"allow": [ALLOW], "signers": {"lab": "keys", "all": "open"}}, False),
        ({"allow": [ALLOW], "signers": {"lab": 5}}, False),
        ({"allow": [ALLOW], "signers": ["keys"]}, False),
        ({"allow": [ALLOW], "require": {"lock": False}}, False),
        ({"allow": [ALLOW], "require": {"bounded_dependencies": 1}}, False),
        ({"allow": [ALLOW], "require": ["lock"]}, False),
        ({"allow": [ALLOW], "isolation": {"strange": "process"}}, False),
        ({"allow": [ALLOW], "isolation": {"community": "apart"}}, False),
        ({"allow": [ALLOW], "isolation": {"community": True}}, False),
        ({"allow": [ALLOW], "isolation": ["community"]}, False),
    ],
)
def test_only_a_plain_and_valid_policy_is_sure(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: object,
    surely: bool,  # noqa: FBT001
) -> None:
    """Every part of it is looked at, and where one says no or is not understood, the whole check decides."""
    (tmp_path / "keys").touch()
    (tmp_path / "open").touch()
    if OPEN:
        (tmp_path / "open").chmod(0o666)
    path = tmp_path / "policy.yaml"
    path.write_text(json.dumps(content))
    monkeypatch.setenv("CUVIS_POLICY", str(path))
    assert surely_allows("https://a.org/x/y") is surely
    assert not surely_allows("https://a.org/x/../y")


def test_the_first_policy_that_is_there_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one nothing is sure; one that everybody may write, or that is broken, says nothing either."""
    repo = "https://a.org/x/y"
    places = [tmp_path / name / "cuvis-ai" / "policy.yaml" for name in ("user", "system")]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "system"))
    assert not surely_allows(repo)
    for place in places:
        place.parent.mkdir(parents=True)
    places[1].write_text(json.dumps({"allow": [ALLOW]}))
    assert surely_allows(repo)
    if OPEN:
        places[1].chmod(0o666)
        assert not surely_allows(repo)
        places[1].chmod(0o600)
    for text in ('{"allow": []}', "{", "- x", ""):
        places[0].write_text(text)
        assert not surely_allows(repo)
    places[0].write_text(json.dumps({"allow": [ALLOW]}))
    assert surely_allows(repo)
