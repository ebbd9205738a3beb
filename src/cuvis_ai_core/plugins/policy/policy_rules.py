"""The policy itself: read from its file, and asked about sources."""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import NotAllowedError, PolicyError, YamlError
from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.policy.addresses import address_of
from cuvis_ai_core.plugins.policy.file_location import POLICY_VARIABLE, is_named, may_be_there, named_relatively, places
from cuvis_ai_core.plugins.policy.file_permissions import writable_by_all
from cuvis_ai_core.plugins.policy.patterns import folder_matches, matches
from cuvis_ai_core.plugins.policy.policy_errors import broken, unreadable, wrong
from cuvis_ai_core.plugins.policy.policy_schema import (
    DistributionRule,
    Kind,
    PathRule,
    PolicyFile,
    RepoRule,
    Require,
    Rule,
)

Asked: TypeAlias = "GitPlugin | LocalPlugin | Path | str"
"""A manifest entry, a folder, or the address of a repository."""


class Judgement(NamedTuple):
    """Under which rule a plugin may be loaded.

    Attributes:
        kind: What it is: `official`, `private` or `community`.
        rule: Where that stands, as `FILE:LINE`.
        signers: The SSH allowed-signers file or the folder of OpenPGP keys, of which one must have signed the tag.
        apart: Whether it runs in a process of its own, whatever its manifest says.
    """

    kind: Kind
    rule: str
    signers: Path | None
    apart: bool


class Policy:
    """What may be loaded on this machine.

    Args:
        path: The file.
        content: What it says.
        lines: The lines of its rules; of the key `allow`; of the keys below `require`.
    """

    def __init__(self, path: Path, content: PolicyFile, lines: "_Lines") -> None:
        self.path: Final = path
        self.content: Final = content
        self._lines = lines

    @classmethod
    def read(cls, path: Path) -> "Policy":
        """Read a policy file.

        Raises:
            PolicyError: It cannot be read, breaks a rule, or others may write it.
        """
        path = path.absolute()
        try:
            status = path.stat()
        except OSError as error:
            raise unreadable(path, str(error.strerror or error)) from error
        # By its state: a server lives long, and the file may change meanwhile.
        found = _read(path, status.st_mtime_ns, status.st_size, status.st_ctime_ns)
        _refuse_open(found)
        return found

    @property
    def require(self) -> Require:
        """What is asked of every plugin."""
        return self.content.require

    def signers(self, name: str) -> Path:
        """Return the file or folder of some signers."""
        return _below(self.path, self.content.signers[name])

    def files(self) -> Iterator[Path]:
        """Return the files and folders that decide: this file, and those of the signers."""
        yield self.path
        yield from map(self.signers, self.content.signers)

    def place_of(self, requirement: str) -> str:
        """Return where something is asked of every plugin, as `FILE:LINE`."""
        return f"{self.path}:{self._lines.require.get(requirement, 1)}"

    def judge(self, asked: Asked, name: str = "") -> Judgement:
        """Return under which rule a source may be loaded: the first that fits decides.

        Args:
            asked: A manifest entry, the address of a repository, or a folder.
            name: Name of the plugin, for errors.

        Raises:
            NotAllowedError: Under none.
        """
        if isinstance(asked, GitPlugin):
            asked = asked.repo
        elif isinstance(asked, LocalPlugin):
            asked = asked.path / (asked.subdirectory or "")
        return self._judge_folder(asked, name) if isinstance(asked, Path) else self._judge_address(asked, name)

    def judge_distribution(self, distribution: str, name: str = "") -> Judgement:
        """Return under which rule a pip-installed plugin may be used.

        Raises:
            NotAllowedError: Under none.
        """
        wanted = normalised(distribution)
        for rule, line in self.rules():
            if isinstance(rule, DistributionRule) and fnmatchcase(wanted, normalised(rule.distribution)):
                return self._judgement(rule, line)
        raise self.refusal(f"the installed distribution '{distribution}'", f"distribution: {wanted}", name)

    def refusal(self, what: str, rule: str, name: str = "") -> NotAllowedError:
        """Return the error for what no rule allows.

        Args:
            what: What is asked for.
            rule: A rule that would allow it.
            name: Name of the plugin.
        """
        return NotAllowedError(
            f"{_subject(name)} may not be loaded here: no rule below 'allow' ({self.path}:{self._lines.allow}) "
            f"allows {what}.",
            hint=f"{self.who()} can add one: - {{{rule}, kind: community}}",
            plugin=name or None,
            rule=f"{self.path}:{self._lines.allow}",
        )

    def who(self) -> str:
        """Return who can change this policy, for a text that goes on with `can`."""
        owner = _owner(self.path)
        return f"Who writes {self.path}{f' (user {owner})' if owner else ''}"

    def _judge_address(self, repo: str, name: str) -> Judgement:
        address, shown = address_of(repo), without_credentials(repo)
        if address is not None:
            for rule, line in self.rules():
                if isinstance(rule, RepoRule):
                    pattern = address_of(rule.repo)
                    if pattern is not None and matches(pattern, address):
                        return self._judgement(rule, line)
        compared = f", compared as {address}" if address is not None else ", an address that is not plain"
        raise self.refusal(f"{shown}{compared}", f'repo: "{shown}"', name)

    def _judge_folder(self, folder: Path, name: str) -> Judgement:
        # By where it leads: a link in a folder that is allowed allows no other folder.
        real = Path(os.path.realpath(folder))
        for rule, line in self.rules():
            if isinstance(rule, PathRule) and folder_matches(_below(self.path, rule.path), real):
                return self._judgement(rule, line)
        raise self.refusal(f"the folder {real}", f'path: "{real}"', name)

    def rules(self) -> Iterator[tuple[Rule, int]]:
        """Return the rules, each with its line."""
        return zip(self.content.allow, self._lines.rules, strict=True)

    def _judgement(self, rule: Rule, line: int) -> Judgement:
        signers = self.signers(rule.signed_by) if isinstance(rule, RepoRule) and rule.signed_by is not None else None
        apart = self.content.isolation.get(rule.kind) == "process"
        return Judgement(rule.kind, f"{self.path}:{line}", signers, apart)


class _Lines(NamedTuple):
    allow: int
    rules: tuple[int, ...]
    require: dict[str, int]


def find_policy() -> Policy | None:
    """Return the policy of this machine; None where there is none, and everything that the user names may be loaded.

    Raises:
        PolicyError: The file is broken, or `CUVIS_POLICY` names one that is not there.
    """
    if is_named():
        if relative := named_relatively():
            raise PolicyError(
                f"{POLICY_VARIABLE} names a relative path, '{shown_in_line(relative)}': that is another file in each "
                "folder, and may be a stranger's. No plugin is loaded.",
                hint=f"Give the whole path: {POLICY_VARIABLE}=$PWD/policy.yaml",
            )
        return Policy.read(Path(*places()))
    # A link to nowhere is there too: reading it is an error, and no free pass.
    return next((Policy.read(Path(place)) for place in places() if may_be_there(place)), None)


@lru_cache(maxsize=4)
def _read(path: Path, _changed: int, _size: int, _touched: int) -> Policy:
    from pydantic import ValidationError

    from cuvis_ai_core._untrusted_files import load_yaml

    try:
        document = load_yaml(path)
    except YamlError as error:
        raise unreadable(path, str(error)) from error
    try:
        content = PolicyFile.model_validate(document.data if document.data is not None else {})
    except ValidationError as error:
        errors = error.errors(include_url=False)
        raise broken(errors, path, document) from None
    if problems := list(_missing_signers(path, content)):
        raise wrong(path, document, problems)
    lines = _Lines(
        document.line_of("allow") or 1,
        tuple(document.line_of("allow", index) or 1 for index in range(len(content.allow))),
        {key: document.line_of("require", key) or 1 for key in Require.model_fields},
    )
    return Policy(path, content, lines)


def _refuse_open(policy: Policy) -> None:
    """Refuse a policy that everybody may write, or replace, or whose signers they may."""
    path = policy.path
    try:
        opened = writable_by_all(*policy.files())
    except OSError as error:
        raise unreadable(path, f"{error.filename}: {error.strerror or error}") from error
    if opened is not None:
        what = f"the policy {path}" if opened == path else f"{opened}, which the policy {path} needs"
        raise PolicyError(
            f"Everybody may write {what}: it proves nothing. No plugin is loaded.",
            hint=f"Take that right away: chmod o-w {opened}",
            path=path,
        )


def _missing_signers(path: Path, content: PolicyFile) -> Iterator[tuple[tuple[str | int, ...], str]]:
    from cuvis_ai_core._nearest import advice

    for index, rule in enumerate(content.allow):
        if isinstance(rule, RepoRule) and rule.signed_by is not None and rule.signed_by not in content.signers:
            meant = advice(rule.signed_by, content.signers, "name a file or a folder of keys there")
            yield ("allow", index, "signed_by"), f"'{rule.signed_by}' does not stand below 'signers'; {meant}"
    for name, place in content.signers.items():
        if not _below(path, place).exists():
            yield ("signers", name), f"{_below(path, place)} is not there"


def _below(path: Path, text: str) -> Path:
    """Return a path that a policy names; a relative one begins at its folder."""
    return path.parent / os.path.expanduser(text)


def _owner(path: Path) -> str:
    try:
        return path.owner()
    # As pathlib says that the user has no name, or that this is Windows.
    except (OSError, KeyError, NotImplementedError):
        return ""


def _subject(name: str) -> str:
    return f"Plugin '{name}'" if name else "This"
