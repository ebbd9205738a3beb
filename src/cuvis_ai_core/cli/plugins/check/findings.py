"""What a check finds: a rule that is broken, where, and what to do."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

ERROR: Final = "error"
WARNING: Final = "warning"


class Finding(NamedTuple):
    """One mistake.

    Attributes:
        rule: Short name of the rule, for programs.
        level: `error` or `warning`.
        file: The file.
        line: The line in it; 1 where it is the whole file.
        said: What is wrong.
        cure: What to write, or to do.
    """

    rule: str
    level: str
    file: Path
    line: int
    said: str
    cure: str

    def place(self, folder: Path) -> str:
        """Return file and line as people read them: relative to the project."""
        file = self.file.relative_to(folder) if self.file.is_relative_to(folder) else self.file
        return f"{file}, line {self.line}"


def in_order(found: Iterable[Finding]) -> list[Finding]:
    """Return findings by their places, each said once: reading and running may come upon the same one.

    What a run says of a place, or of a file, of which reading has said what is wrong adds nothing.
    """
    kept: dict[tuple[Path, int, str], Finding] = {}
    for each in found:
        rule = each.rule.partition(":")[0]
        kept.setdefault((each.file, each.line, rule if rule != "run" else ""), each)
    read = {(each.file, each.line) for each in kept.values() if each.rule != "run" and each.level == ERROR}
    said = [each for each in kept.values() if each.rule != "run" or (each.file, each.line) not in read]
    return sorted(said, key=lambda each: (str(each.file), each.line, each.level))


def line_of(text: str, *marks: str) -> int:
    """Return the first line of a text that has one of some marks, the first mark first; 1 if none has."""
    for mark in marks:
        for number, line in enumerate(text.splitlines(), 1):
            if mark in line:
                return number
    return 1
