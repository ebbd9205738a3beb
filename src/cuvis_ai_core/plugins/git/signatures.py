"""Whether a tag is signed by somebody whom the policy names: asked of `git verify-tag`, on the objects that are here.

Nothing of the user's, and nothing of the repository's, takes part: neither configuration nor keyring. A host may hand
out another tag's object, or one that names another commit: what is signed must be this tag, of the commit that is
checked out.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple

from cuvis_ai_core._environment_variables import git_variables
from cuvis_ai_core._subprocess import Finished, run
from cuvis_ai_core.errors import PolicyError, SignatureError, ToolNotFoundError
from cuvis_ai_core.plugins.git.git_command import git

_KEY_FILES: Final = (".asc", ".gpg", ".pgp", ".key")

_BEGINS: Final = {"-----BEGIN SSH SIGNATURE-----": "SSH", "-----BEGIN PGP SIGNATURE-----": "OpenPGP"}

_VERIFY: Final = ("verify-tag", "--raw", "--verbose")
"""Prints what is signed, and to the other stream what is found of the signature."""

# ssh-keygen prints the principal as the signers file has it, which may hold spaces: what follows "with" is its own.
_GOOD_SSH: Final = re.compile(r'^Good "git" signature for (.+) with \S+ key (SHA256:\S+)$', re.MULTILINE)
_SSH_KEY: Final = re.compile(r"\bwith \S+ key (SHA256:\S+)")
_GPG: Final = re.compile(r"^\[GNUPG:\] (\w+) ?(.*)$", re.MULTILINE)

_NOBODY: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_COUNT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
}
"""Configuration of nobody: what is trusted, and by which program, is told by us."""

Reason = Literal["unsigned", "wrong", "expired", "unknown"]


class Signature(NamedTuple):
    """A good signature of a tag.

    Attributes:
        signer: Who signed it: the principal of an allowed-signers file, the user of an OpenPGP key.
        key: Fingerprint of the key.
    """

    signer: str
    key: str


class Tag(NamedTuple):
    """What the object of a tag says, without a word about whether that is true.

    Attributes:
        commit: What it names.
        name: The name that it gives itself.
        form: How it is signed: `SSH`, `OpenPGP`, or "" where it is not.
    """

    commit: str
    name: str
    form: str


def tag_of(folder: Path, tag: str) -> Tag | None:
    """Return what the object of a tag in a checkout says; None where the tag has none of its own, or is not there."""
    finished = _git(folder, "cat-file", "tag", f"refs/tags/{tag}")
    if finished.returncode:
        return None
    # Whole lines: a message may mention the words within one.
    forms = [_BEGINS[line] for line in finished.stdout.splitlines() if line in _BEGINS]
    return _read(finished.stdout, forms[-1] if forms else "")  # of the last one, as for git


def _read(content: str, form: str) -> Tag | None:
    head = content.partition("\n\n")[0]
    said = dict(line.split(" ", 1) for line in head.splitlines() if " " in line)
    return Tag(said.get("object", ""), said.get("tag", ""), form) if said.get("type") == "commit" else None


def _names_tag(folder: Path, tag: str) -> bool:
    """Tell whether the object of a tag names another tag's."""
    head = _git(folder, "cat-file", "tag", f"refs/tags/{tag}").stdout.partition("\n\n")[0]
    return "type tag" in head.splitlines()


def verified(
    folder: Path, tag: str, commit: str, signers: Path, rule: str, meanwhile: Callable[[], object] | None = None
) -> Signature:
    """Return by whom a tag is signed.

    Args:
        folder: The checkout.
        tag: Name of the tag.
        commit: The commit that is checked out.
        signers: An SSH allowed-signers file, or a folder of OpenPGP keys.
        rule: Where the policy asks for it, for errors.
        meanwhile: What to do in this thread while git looks.

    Raises:
        SignatureError: By none of them; `reason` says in which way.
        PolicyError: The keys cannot be read.
        ToolNotFoundError: ssh-keygen or gpg is not installed.
    """
    wanted = "OpenPGP" if signers.is_dir() else "SSH"
    # what git has verified says itself which tag of which commit it is; the object is only read where that failed
    found, content = (_by_gpg if signers.is_dir() else _by_ssh)(folder, tag, signers, meanwhile)
    said = _read(content, wanted) if isinstance(found, Signature) else tag_of(folder, tag)
    if said is None and _names_tag(folder, tag):
        what = "counts as not signed: it is a tag of another tag, and what is signed must be one of the commit itself"
        step = f"Ask the author to sign one of the commit: git tag -s -f {tag} '{tag}^{{}}'"
        raise _refused(tag, "unsigned", what, signers, rule, step)
    if said is None or not said.form:
        raise _refused(tag, "unsigned", "is not signed", signers, rule)
    if said.name != tag:
        raise _refused(tag, "wrong", f"is wrongly signed: what is signed is tag '{said.name}'", signers, rule)
    if said.commit != commit:
        what = f"is wrongly signed: what is signed is commit {said.commit}, but {commit} is checked out"
        raise _refused(tag, "wrong", what, signers, rule)
    if said.form != wanted:
        what = f"is signed by an unknown signer: with an {said.form} key, but those of the policy have {wanted} keys"
        raise _refused(tag, "unknown", what, signers, rule)
    if isinstance(found, Signature):
        return found
    reason, what = found
    raise _refused(tag, reason, what, signers, rule)


def _by_ssh(
    folder: Path, tag: str, signers: Path, meanwhile: Callable[[], object] | None
) -> tuple[Signature | tuple[Reason, str], str]:
    """Return what is found of the signature, and the content that it is of."""
    keygen = _program("ssh-keygen", "an OpenSSH client")
    settings = (
        # The whole path: `.` in PATH, or a folder in the checkout, must not decide who verifies.
        *_no_other_than("gpg.ssh.program", keygen),
        # git runs in the checkout, from which a relative path would be looked up.
        f"gpg.ssh.allowedSignersFile={signers.resolve()}",
        # Of nobody: who is trusted stands in the policy's file, where expiry is said as well.
        "gpg.ssh.revocationFile=",
        "gpg.format=ssh",
        "gpg.minTrustLevel=fully",
    )
    finished = _git(folder, *_VERIFY, f"refs/tags/{tag}", settings=settings, meanwhile=meanwhile)
    return _found_by_ssh(finished), finished.stdout


def _found_by_ssh(finished: Finished) -> Signature | tuple[Reason, str]:
    words = finished.stderr  # the other stream has what the author wrote
    good = _GOOD_SSH.search(words)
    # Both: ssh-keygen tells a good signature of a key that no principal has, too, and then git fails.
    if finished.returncode == 0 and good:
        return Signature(good[1], good[2])
    if "incorrect signature" in words:
        return "wrong", "is wrongly signed: its signature does not belong to it"
    known = _SSH_KEY.search(words)
    key = known[1] if known else "a key"
    if "key has expired" in words or "key is not yet valid" in words:
        return "expired", f"is signed by {key}, which was expired, or not valid yet, when that was done"
    return "unknown", f"is signed by an unknown signer: {key} is not among those of the policy"


def _by_gpg(
    folder: Path, tag: str, signers: Path, meanwhile: Callable[[], object] | None
) -> tuple[Signature | tuple[Reason, str], str]:
    """Return the same as `_by_ssh`."""
    gpg = _program("gpg", "GnuPG")
    with _keyring(gpg, signers) as home:
        settings = (*_no_other_than("gpg.openpgp.program", gpg), "gpg.format=openpgp", "gpg.minTrustLevel=fully")
        variables = {"GNUPGHOME": str(home)}
        words = (*_VERIFY, f"refs/tags/{tag}")
        # GNUPGHOME alone decides about the keyring: the user's own may hold anybody.
        finished = _git(folder, *words, settings=settings, variables=variables, meanwhile=meanwhile)
    return _found_by_gpg(finished), finished.stdout


def _found_by_gpg(finished: Finished) -> Signature | tuple[Reason, str]:
    words = dict(_GPG.findall(finished.stderr))
    key = words.get("VALIDSIG", "").split(" ")
    # By GnuPG's status lines, which are an interface; what it says to people is translated.
    if finished.returncode == 0 and {"GOODSIG", "VALIDSIG"} <= words.keys():
        return Signature(words["GOODSIG"].partition(" ")[2], key[-1])
    if "BADSIG" in words:
        return "wrong", "is wrongly signed: its signature does not belong to it"
    for word, what in (("EXPSIG", "signature"), ("EXPKEYSIG", "key"), ("REVKEYSIG", "key")):
        if word in words:
            ended = "was revoked" if word == "REVKEYSIG" else "has expired"
            return "expired", f"is signed by {words[word].partition(' ')[2]}, but the {what} {ended}"
    named = words.get("NO_PUBKEY") or words.get("ERRSIG", "").partition(" ")[0] or "a key"
    return "unknown", f"is signed by an unknown signer: {named} is not among those of the policy"


@contextmanager
def _keyring(gpg: str, folder: Path) -> Iterator[Path]:
    """Have a keyring with the keys of a folder, and no others."""
    files = sorted(path for path in folder.iterdir() if path.suffix in _KEY_FILES)
    if not files:
        raise PolicyError(
            f"The folder of signers {folder} has no keys: no file ends in {', '.join(_KEY_FILES)}.",
            hint=f"Put them there: gpg --armor --export PERSON > {folder}/PERSON.asc",
            path=folder,
        )
    # The socket of an agent has to fit into 108 bytes: the folder for temporary files is short.
    with tempfile.TemporaryDirectory(prefix="cuvis-") as text:
        home = Path(text)
        # No agent is left running, whoever is in the folder is trusted, and no key server is asked.
        (home / "gpg.conf").write_text("no-autostart\ntrust-model always\nno-auto-key-retrieve\n", encoding="utf-8")
        command = [gpg, "--batch", "--quiet", "--no-tty", "--homedir", text, "--import", *map(str, files)]
        finished = run(command, cwd=home, env=git_variables() | {"GNUPGHOME": text})
        if finished.returncode:
            raise PolicyError(
                f"The keys in {folder} cannot be read:\n{finished.stderr.strip()}",
                hint=f"Export them anew: gpg --armor --export PERSON > {folder}/PERSON.asc",
                path=folder,
            )
        yield home


def _git(
    folder: Path,
    *arguments: str,
    settings: tuple[str, ...] = (),
    variables: Mapping[str, str] | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> Finished:
    told = {**_NOBODY, **(variables or {})}
    return git(folder, *arguments, settings=settings, variables=told, meanwhile=meanwhile)


def _no_other_than(key: str, program: str) -> list[str]:
    """Return the settings with which git asks one program about signatures, and none about those of other kinds."""
    keys = ("gpg.program", "gpg.openpgp.program", "gpg.ssh.program", "gpg.x509.program")
    # A tag may be signed in any form, and git starts the program of that form before anybody can look.
    return [f"{each}={program if each == key else os.devnull}" for each in keys]


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ToolNotFoundError(
            f"The program '{name}' was not found on PATH; the policy of this machine asks for signed tags.",
            hint=f"Install {package}.",
            tool=name,
        )
    return str(Path(found).absolute())


def _refused(
    tag: str,
    reason: Reason,
    what: str,
    signers: Path,
    rule: str,
    step: str = "Ask the author for a tag that is signed so",
) -> SignatureError:
    return SignatureError(
        f"Tag {tag} {what}. The policy asks for a tag that one of {signers} signed ({rule}).",
        hint=f"{step}, or who writes the policy for another rule.",
        rule=rule,
        reason=reason,
    )
