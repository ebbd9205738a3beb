"""A tag counts as signed if git says so of the objects that are here, with the keys of the policy alone."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core._subprocess import Finished
from cuvis_ai_core.errors import PolicyError, SignatureError
from cuvis_ai_core.plugins.git import signatures
from cuvis_ai_core.plugins.git.signatures import Signature, tag_of, verified

RULE = "policy.yaml:2"


def refusal(signing: Any, tag: str, signers: Path, commit: str = "") -> SignatureError:
    """Verify a tag that is not signed as it should be, and return the error."""
    with pytest.raises(SignatureError) as caught:
        verified(signing.repository, tag, commit or signing.head(), signers, RULE)
    assert RULE in caught.value.message
    return caught.value


def test_a_tag_that_an_allowed_key_signed_is_good(signing: Any) -> None:
    """It is told by whom, with the fingerprint of the key."""
    signing.ssh_tag("v1", "mira")
    signing.allowed("mira")

    found = verified(signing.repository, "v1", signing.head(), signing.allowed("ben", "mira"), RULE)

    told = subprocess.run(["ssh-keygen", "-lf", signing.ssh_key("mira")], capture_output=True, text=True, check=True)
    assert found == Signature("mira@lab.org", told.stdout.split()[1])


WAITING = """\
#!/bin/sh
for _ in $(seq 1000); do
    test -e {done} && exec {keygen} "$@"
    sleep 0.01
done
exit 1
"""


def test_who_waits_for_a_verification_need_not_be_idle(
    signing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to be done meanwhile is done while the program looks at the signature, and the answer is the same."""
    signing.ssh_tag("v1", "mira")
    program, done = tmp_path / "bin/ssh-keygen", tmp_path / "done"
    program.parent.mkdir()
    program.write_text(WAITING.format(done=done, keygen=shutil.which("ssh-keygen")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    found = verified(signing.repository, "v1", signing.head(), signing.allowed("mira"), RULE, done.touch)
    assert found.signer == "mira@lab.org"


def test_four_ways_of_not_being_signed_are_told_apart(signing: Any) -> None:
    """Unsigned, wrongly signed, expired, and signed by somebody else: four messages."""
    signing.git("tag", "light")
    signing.git("tag", "-a", "-m", "x", "annotated")
    signing.ssh_tag("good", "mira")
    signing.ssh_tag("other", "eve")
    changed = signing.git("cat-file", "tag", "good").replace("\n\ngood\n", "\n\nchanged\n")
    signing.git(
        "update-ref", "refs/tags/good2", signing.git("hash-object", "-t", "tag", "-w", "--stdin", text=changed + "\n")
    )
    altered = changed.replace("tag good\n", "tag altered\n")
    signing.git(
        "update-ref", "refs/tags/altered", signing.git("hash-object", "-t", "tag", "-w", "--stdin", text=altered + "\n")
    )
    allowed = signing.allowed("mira")

    found = {tag: refusal(signing, tag, allowed) for tag in ("light", "annotated", "altered", "other")}
    found["expired"] = refusal(signing, "good", signing.allowed("mira", options='valid-before="20200101"'))

    reasons = [each.reason for each in found.values()]
    assert reasons == ["unsigned", "unsigned", "wrong", "unknown", "expired"]
    words = ["is not signed", "is not signed", "wrongly signed", "unknown signer", "was expired"]
    assert all(word in each.message for word, each in zip(words, found.values(), strict=True))


def test_the_signature_of_another_tag_is_none(signing: Any) -> None:
    """A host that hands out the old signed tag under a new name brings back what was mended since."""
    signing.ssh_tag("v1", "mira")
    signing.git("update-ref", "refs/tags/v2", signing.git("rev-parse", "refs/tags/v1"))

    error = refusal(signing, "v2", signing.allowed("mira"))

    assert error.reason == "wrong"
    assert "tag 'v1'" in error.message


def test_a_signature_belongs_to_the_commit_that_is_checked_out(signing: Any) -> None:
    """Other files under a signed tag are not signed."""
    signing.ssh_tag("v1", "mira")
    other = signing.commit("two")

    error = refusal(signing, "v1", signing.allowed("mira"), commit=other)

    assert error.reason == "wrong"
    assert other in error.message


def test_a_signed_tag_of_a_tag_is_none(signing: Any) -> None:
    """What is signed must be the tag of the commit itself, which the error says, with the next step."""
    signing.git("tag", "-a", "-m", "x", "inner")
    signing.ssh_tag("outer", "mira", "refs/tags/inner")

    error = refusal(signing, "outer", signing.allowed("mira"))
    assert error.reason == "unsigned"
    assert "it is a tag of another tag" in error.message
    assert "git tag -s -f outer 'outer^{}'" in str(error.hint)

    signing.ssh_tag("outer", "mira", "-f", "outer^{}")
    assert verified(signing.repository, "outer", signing.head(), signing.allowed("mira"), RULE)


def test_what_the_author_writes_is_no_word_of_git(signing: Any) -> None:
    """A message that looks like git's own words changes nothing of who is told to have signed."""
    words = 'Good "git" signature for mira@lab.org with ED25519 key SHA256:x\n[GNUPG:] GOODSIG 1 Mira'
    signing.ssh_tag("v1", "ben", "-m", words)
    signing.ssh_tag("v2", "eve", "-m", words)
    allowed = signing.allowed("ben", "mira")

    assert verified(signing.repository, "v1", signing.head(), allowed, RULE).signer == "ben@lab.org"
    assert refusal(signing, "v2", allowed).reason == "unknown"


def test_a_key_for_other_purposes_signs_no_tags(signing: Any) -> None:
    """`namespaces` of an allowed-signers file are kept."""
    signing.ssh_tag("v1", "mira")

    assert refusal(signing, "v1", signing.allowed("mira", options='namespaces="file"')).reason != "unsigned"


def test_configuration_of_the_user_and_of_the_repository_changes_nothing(
    signing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever they say of programs, signers and trust: the policy's own count, and no other program is run."""
    signing.ssh_tag("v1", "eve")
    yes = tmp_path / "yes.sh"
    yes.write_text(
        f"#!/bin/sh\ntouch {tmp_path}/ran\necho 'Good \"git\" signature for mira@lab.org with ED25519 key SHA256:x'\n"
    )
    yes.chmod(0o700)
    eves = signing.allowed("eve").rename(tmp_path / "eves")
    lines = [f"[gpg]\nformat = ssh\nprogram = {yes}\nminTrustLevel = undefined"]
    lines += [f'[gpg "ssh"]\nprogram = {yes}\nallowedSignersFile = {eves}', f'[gpg "openpgp"]\nprogram = {yes}']
    text = "\n".join(lines)
    (Path.home() / ".gitconfig").write_text(text)
    with (signing.repository / ".git" / "config").open("a") as file:
        file.write(text)
    for number, (key, value) in enumerate({"gpg.ssh.program": yes, "gpg.ssh.allowedSignersFile": eves}.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", str(value))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")

    assert refusal(signing, "v1", signing.allowed("mira")).reason == "unknown"
    assert not (tmp_path / "ran").exists()


def test_what_replaces_objects_in_a_checkout_changes_nothing(signing: Any) -> None:
    """`refs/replace` would show a signed object in place of another one."""
    signing.ssh_tag("v1", "mira")
    signing.git("tag", "-a", "-m", "x", "v2")
    signing.git("replace", "-f", signing.git("rev-parse", "refs/tags/v2"), signing.git("rev-parse", "refs/tags/v1"))

    assert refusal(signing, "v2", signing.allowed("mira")).reason == "unsigned"


def test_a_tag_object_says_what_it_is(signing: Any) -> None:
    """A light tag has no object; others say commit, name, and how they are signed."""
    signing.git("tag", "light")
    signing.ssh_tag("v1", "mira")

    assert tag_of(signing.repository, "light") is None
    assert tag_of(signing.repository, "nowhere") is None
    assert tag_of(signing.repository, "v1") == (signing.head(), "v1", "SSH")


def test_an_openpgp_key_of_the_folder_signs(pgp: Any) -> None:
    """The keys of the folder count; who signed, and the fingerprint, are told."""
    mira, eve = pgp.pgp_key("mira"), pgp.pgp_key("eve")
    pgp.pgp_tag("v1", mira)
    pgp.pgp_tag("v2", eve)
    keys = pgp.exported(mira)

    found = verified(pgp.repository, "v1", pgp.head(), keys, RULE)

    assert found.signer == "mira <mira@lab.org>"
    assert found.key in pgp.gpg("--with-colons", "--fingerprint", mira)
    assert refusal(pgp, "v2", keys).reason == "unknown"


def test_an_expired_openpgp_key_and_an_altered_tag_are_told_apart(pgp: Any) -> None:
    """The same four reasons."""
    old = pgp.pgp_key("old", "2021-02-01", "--faked-system-time", "20210101T000000")
    pgp.folder.joinpath("time").write_text("")
    program = pgp.folder / "then.sh"
    program.write_text(
        f'#!/bin/sh\nexec gpg --homedir "{pgp.home}" --batch --faked-system-time 20210110T000000 '
        '--pinentry-mode loopback "$@"\n'
    )
    program.chmod(0o700)
    pgp.git("-c", f"gpg.program={program}", "-c", f"user.signingkey={old}", "tag", "-s", "-m", "x", "v1")
    mira = pgp.pgp_key("mira")
    pgp.pgp_tag("good", mira)
    altered = pgp.git("cat-file", "tag", "good").replace("tag good\n", "tag altered\n")
    pgp.git(
        "update-ref", "refs/tags/altered", pgp.git("hash-object", "-t", "tag", "-w", "--stdin", text=altered + "\n")
    )
    pgp.git("tag", "-a", "-m", "x", "plain")
    keys = pgp.exported(old, mira)

    assert [refusal(pgp, tag, keys).reason for tag in ("plain", "altered", "v1")] == ["unsigned", "wrong", "expired"]


def test_the_keyring_of_the_user_does_not_count(pgp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the user has, and trusts, is unknown if the policy does not have it; nothing is added to theirs."""
    mira, eve = pgp.pgp_key("mira"), pgp.pgp_key("eve")
    pgp.pgp_tag("v1", eve)
    keys = pgp.exported(mira)
    monkeypatch.setenv("GNUPGHOME", str(pgp.home))
    before = sorted(pgp.home.iterdir())

    assert refusal(pgp, "v1", keys).reason == "unknown"
    assert sorted(pgp.home.iterdir()) == before


def test_kinds_of_keys_are_not_mixed(signing: Any, pgp: Any) -> None:
    """An SSH signature is no OpenPGP signature."""
    signing.ssh_tag("v1", "mira")
    assert refusal(signing, "v1", pgp.exported(pgp.pgp_key("mira"))).reason == "unknown"


def test_a_folder_without_keys_is_a_broken_policy(pgp: Any, tmp_path: Path) -> None:
    """It is said, and how keys get there."""
    pgp.pgp_tag("v1", pgp.pgp_key("mira"))
    (tmp_path / "keys").mkdir()

    with pytest.raises(PolicyError, match="no keys"):
        verified(pgp.repository, "v1", pgp.head(), tmp_path / "keys", RULE)
    (tmp_path / "keys" / "x.asc").write_text("no key")
    with pytest.raises(PolicyError, match="cannot be read"):
        verified(pgp.repository, "v1", pgp.head(), tmp_path / "keys", RULE)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("file", 'Good "git" signature for mira@lab.org with ED25519 key SHA256:x'),
        ("folder", "[GNUPG:] GOODSIG 0A mira@lab.org\n[GNUPG:] VALIDSIG 0B 2026 SHA256:x"),
    ],
)
def test_both_programs_have_to_find_a_signature_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str, words: str
) -> None:
    """The one that knows keys calls a signature good that is of nobody, or of a key that is not trusted; git fails."""
    form = "SSH" if keys == "file" else "PGP"
    content = f"object {'a' * 40}\ntype commit\ntag v1\n\nmessage\n-----BEGIN {form} SIGNATURE-----\n"
    signers = tmp_path / "signers"
    if keys == "file":
        signers.touch()
    else:
        signers.mkdir()
        (signers / "mira.asc").touch()
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(signatures, "run", lambda *_, **__: Finished(0, "", ""))

    def found(code: int, noted: str) -> Signature:
        def git(_: Path, word: str, *__: str, **___: object) -> Finished:
            return Finished(0 if word == "cat-file" else code, content, noted)

        monkeypatch.setattr(signatures, "git", git)
        return verified(tmp_path, "v1", "a" * 40, signers, RULE)

    assert found(0, words) == Signature("mira@lab.org", "SHA256:x")
    for code, noted in ((1, words), (0, "")):
        with pytest.raises(SignatureError, match="is signed by an unknown signer") as caught:
            found(code, noted)
        assert caught.value.reason == "unknown"
