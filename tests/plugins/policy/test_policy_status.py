"""How a plugin stands with the policy, as lists and audits show it; nothing is fetched."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cuvis_ai_core.errors import SignatureError
from cuvis_ai_core.plugins.cache import policy_checks, policy_status
from cuvis_ai_core.plugins.cache.checkout_entry import complete, identity
from cuvis_ai_core.plugins.cache.policy_status import Standing, standing_of
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.git.signatures import Signature
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin

Put = Callable[[str], Path]

REPO = GitPlugin(repo="https://a.org/x/y", tag="v1", provides=("any.Node",))
LOCAL = LocalPlugin(path=Path("y"), provides=("any.Node",))

ALLOWED = "allow:\n  - {repo: https://a.org/x/y, kind: official"


def fetched(store: Store) -> Path:
    """Put a checkout into the cache."""
    place = store.checkouts("one", "v1", REPO.repo)[0]
    (place / ".git").mkdir(parents=True)
    complete(place, "a" * 40, identity("one", REPO.repo, "v1"))
    return place


def test_without_a_policy_it_is_told_what_a_tag_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which nobody has checked, and only of what is fetched."""
    store = Store(tmp_path)
    assert standing_of("one", LOCAL, store, locked=False) == Standing("community", "-", "-", "")
    assert standing_of("one", REPO, store, locked=False) == Standing("community", "-", "not fetched", "")
    place = fetched(store)
    for form, said in ((None, "unsigned"), ("", "unsigned"), ("ssh", "ssh, not checked")):
        asked: list[tuple[Path, str]] = []

        def tag(*words: object, form: str | None = form, asked: list[tuple[Path, str]] = asked) -> object:
            asked.append(words)  # type: ignore[arg-type]
            return None if form is None else SimpleNamespace(form=form)

        monkeypatch.setattr(policy_status, "tag_of", tag)
        assert standing_of("one", REPO, store, locked=False) == Standing("community", "-", said, "")
        assert asked == [(place, "v1")]


def test_a_policy_says_by_which_rule(tmp_path: Path, policy: Put) -> None:
    """Or why not; that a plugin needs a process is no refusal, that it is not locked is one."""
    store = Store(tmp_path)
    path = policy(f"{ALLOWED}}}\n")
    assert standing_of("one", REPO, store, locked=True) == Standing("official", f"{path}:2", "not fetched", "")
    other = standing_of("one", LOCAL, store, locked=True)
    assert other[:3] == ("community", f"{path}:1", "-")
    assert other.why.startswith("Plugin 'one' ")
    path = policy(f"{ALLOWED}}}\nrequire: {{lock: true}}\n")
    assert standing_of("one", REPO, store, locked=True).why == ""
    refused = standing_of("one", REPO, store, locked=False)
    assert refused[:3] == ("community", f"{path}:3", "not fetched")
    assert "is not locked" in refused.why


def test_a_signature_is_checked_where_one_is_asked_for(
    tmp_path: Path, policy: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is fetched: who signed, or in a word why it does not count."""
    store = Store(tmp_path / "cache")
    (tmp_path / "keys").write_text("")
    path = policy(f"signers: {{lab: keys}}\n{ALLOWED}, signed_by: lab}}\n")
    assert standing_of("one", REPO, store, locked=True) == Standing("official", f"{path}:3", "not fetched", "")
    fetched(store)
    monkeypatch.setattr(policy_checks, "signed", lambda *_: Signature("mira@lab.org", "SHA256:x"))
    found = standing_of("one", REPO, store, locked=True)
    assert found == Standing("official", f"{path}:3", "mira@lab.org SHA256:x", "")

    def refuse(*_: object) -> None:
        error = SignatureError("The tag is not signed.")
        error.reason = "unsigned"
        raise error

    monkeypatch.setattr(policy_checks, "signed", refuse)
    found = standing_of("one", REPO, store, locked=True)
    assert found == Standing("official", f"{path}:3", "unsigned", "The tag is not signed.")
