"""What is told of a policy in a hurry is never more than what the whole check says."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

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
