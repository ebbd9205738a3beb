"""Keys of strangers and of friends, and tags that they sign: made by the programs themselves."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class Signing:
    """A repository whose tags are signed, or not.

    Args:
        folder: Folder for keys and the repository.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.repository.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("one")

    def git(self, *arguments: str, text: str | None = None) -> str:
        """Run git in the repository and return what it prints."""
        who = ("-c", "user.name=Author", "-c", "user.email=author@lab.org", "-c", "tag.gpgSign=false")
        command = ["git", *who, *arguments]
        done = subprocess.run(command, cwd=self.repository, input=text, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, text: str) -> str:
        """Commit a file and return the commit."""
        (self.repository / "file.txt").write_text(text)
        self.git("add", ".")
        self.git("commit", "--quiet", "--no-gpg-sign", "-m", text)
        return self.head()

    def head(self) -> str:
        """Return the commit that is checked out."""
        return self.git("rev-parse", "HEAD")

    def ssh_key(self, name: str) -> Path:
        """Return a private key; its public half lies beside it."""
        place = self.folder / name
        if not place.exists():
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(place)]
            subprocess.run(command, check=True)
        return place

    def ssh_tag(self, tag: str, key: str, *options: str) -> None:
        """Sign a tag of the last commit with a key."""
        self.git(
            "-c", "gpg.format=ssh", "-c", f"user.signingkey={self.ssh_key(key)}", "tag", "-s", "-m", tag, tag, *options
        )

    def allowed(self, *keys: str, options: str = "") -> Path:
        """Return an allowed-signers file with some keys."""
        lines = [f"{key}@lab.org {options} {self.ssh_key(key).with_suffix('.pub').read_text()}" for key in keys]
        place = self.folder / "allowed_signers"
        place.write_text("".join(lines))
        return place


class PgpSigning(Signing):
    """The same with OpenPGP."""

    @property
    def home(self) -> Path:
        """The keyring of whoever signs."""
        home = self.folder / "gnupg"
        home.mkdir(exist_ok=True, mode=0o700)
        return home

    def gpg(self, *arguments: str) -> str:
        """Run gpg with that keyring."""
        command = [
            "gpg",
            "--batch",
            "--quiet",
            "--homedir",
            str(self.home),
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
        ]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=True).stdout

    def pgp_key(self, name: str, expires: str = "never", *options: str) -> str:
        """Make a key and return the address of its user."""
        user = f"{name}@lab.org"
        self.gpg(*options, "--quick-generate-key", f"{name} <{user}>", "ed25519", "sign", expires)
        return user

    def pgp_tag(self, tag: str, user: str) -> None:
        """Sign a tag of the last commit."""
        program = self.folder / "sign.sh"
        program.write_text(
            f'#!/bin/sh\nexec gpg --homedir "{self.home}" --batch --pinentry-mode loopback --passphrase "" "$@"\n'
        )
        program.chmod(0o700)
        self.git("-c", f"gpg.program={program}", "-c", f"user.signingkey={user}", "tag", "-s", "-m", tag, tag)

    def exported(self, *users: str) -> Path:
        """Return a folder with the public keys of some users."""
        place = self.folder / "keys"
        place.mkdir(exist_ok=True)
        for user in users:
            (place / f"{user}.asc").write_text(self.gpg("--armor", "--export", user))
        return place


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    """Return a repository whose tags are signed with SSH keys."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed: no keys can be made")
    return Signing(tmp_path / "signing")


@pytest.fixture
def pgp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgpSigning]:
    """Return the same for OpenPGP keys, in a folder with a short path: an agent listens in it."""
    import tempfile

    if shutil.which("gpg") is None or shutil.which("gpgconf") is None:
        pytest.skip("gpg is not installed: no keys can be made")
    with tempfile.TemporaryDirectory(prefix="pgp-") as text:
        signing = PgpSigning(Path(text))
        yield signing
        subprocess.run(["gpgconf", "--homedir", str(signing.home), "--kill", "all"], check=False)


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that puts a policy in force for this test and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "policy.yaml"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setenv("CUVIS_POLICY", str(path))
        return path

    return write
