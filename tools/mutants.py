"""Put small faults into the code, one at a time, and see whether the tests nearest to it notice.

python tools/mutants.py --sample 60 --seed 7                     in what differs from main
python tools/mutants.py --sample 20 src/cuvis_ai_core/pipeline   in these files and folders

A fault is one that a hand makes: a condition turned round, a comparison that is off by one, a step left out, an
argument forgotten, a number changed, a result not returned. Each is put into the file itself, which is written back
whatever happens; files with changes that are not committed are refused. Tools that mutate whole packages (mutmut,
cosmic-ray) run one set of tests for all of them; here that takes ten minutes, so the nearest tests are chosen by file.
"""

import argparse
import ast
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

SOURCE = Path("src/cuvis_ai_core")

NOTICED = 0.9
"""Share of faults that tests have to notice."""

FILES_OF_TESTS = 6
"""At most so many files of tests are run for one fault."""

HANGS = 100
"""Seconds after which a test that goes on has noticed the fault, by hanging."""

SECONDS = 900.0
"""A run of tests that takes longer says nothing: the machine does other things."""

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}


class Fault(NamedTuple):
    """One change of a source file: what stands between two places becomes something else."""

    path: Path
    line: int
    start: int
    end: int
    old: str
    new: str

    def __str__(self) -> str:
        """Say where it is and what it does."""
        return f"{self.path}:{self.line}: {' '.join(self.old.split())[:60]} -> {' '.join(self.new.split())[:60]}"


def main(arguments: list[str]) -> int:
    """Try a sample of faults; return 1 where too many go unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, help="files and folders below src; by default what was changed")
    parser.add_argument("--sample", type=int, default=60, help="how many faults to try (60)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (0)")
    parser.add_argument("--base", default="main", help="what counts as changed differs from this commit (main)")
    options = parser.parse_args(arguments)
    paths = options.paths or _changed(options.base)
    files = sorted({file for path in paths for file in ([path] if path.suffix == ".py" else path.rglob("*.py"))})
    faults = [fault for file in files for fault in faults_of(file)]
    if not faults:
        parser.error("there is no code to try: name files or folders, or another --base")
    dirty = _git("status", "--porcelain", "--", *map(str, files))
    if dirty:
        parser.error(f"commit or stash these first, they are written to:\n{dirty}")
    chance = random.Random(options.seed)  # noqa: S311 - nothing secret, and the same again for the same seed
    sample = chance.sample(faults, min(options.sample, len(faults)))
    missed = [fault for fault in sample if not _is_noticed(fault)]
    print(f"{len(sample) - len(missed)} of {len(sample)} noticed; unnoticed:")
    print(*(f"  {fault}" for fault in missed), sep="\n")
    return int(len(missed) > (1 - NOTICED) * len(sample))


def faults_of(path: Path) -> Iterator[Fault]:
    """Return every fault that could be put into a file."""
    text = path.read_text(encoding="utf-8")
    lines = [0]
    for line in text.encode().splitlines(keepends=True):
        lines.append(lines[-1] + len(line))

    def fault(node: ast.expr | ast.stmt, new: str) -> Fault:
        start = lines[node.lineno - 1] + node.col_offset
        end = lines[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        return Fault(path, node.lineno, start, end, text.encode()[start:end].decode(), new)

    for node in _executed(ast.parse(text)):
        for part, new in _changes(node, text):
            yield fault(part, new)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs: no annotations, no docstrings, no words of messages."""
    for name, value in ast.iter_fields(tree):
        if name in {"annotation", "returns", "decorator_list"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.Raise | ast.JoinedStr | ast.AnnAssign):
                if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                    continue
                yield child
                yield from _executed(child)


def _changes(node: ast.AST, text: str) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Return parts of a node, each with what is to stand in its place."""

    def source(part: ast.AST) -> str:
        return ast.get_source_segment(text, part) or ""

    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield test, f"(not ({source(test)}))"
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            yield node, f"({source(left)}) {_COMPARISONS[type(operator)]} ({source(right)})"
        case ast.BoolOp(op=word, values=values):
            other = " or " if isinstance(word, ast.And) else " and "
            yield node, "(" + other.join(f"({source(value)})" for value in values) + ")"
        case (
            ast.Expr(value=ast.Call())
            | ast.AugAssign()
            | ast.Delete()
            | ast.Assign(targets=[ast.Attribute() | ast.Subscript()])
        ):
            yield node, "pass"
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield value, "None"
        case ast.Call(func=function, args=arguments, keywords=[*_, ast.keyword(arg=str())] as keywords):
            kept = [*map(source, arguments), *map(source, keywords[:-1])]
            yield node, f"{source(function)}({', '.join(kept)})"
        case ast.Constant(value=int(value)):
            yield node, str(not value) if isinstance(value, bool) else str(value + 1)


def nearest_tests(path: Path) -> list[Path]:
    """Return the files of tests nearest to a source file.

    Those of its name come first, then some that import it, those of the name of its package, those that have the name
    of a module which imports it, and those of its room.
    """
    inside = path.with_suffix("").relative_to(SOURCE)
    module = ".".join(("cuvis_ai_core", *inside.parts)).removesuffix(".__init__")
    imports = re.compile(rf"{re.escape(module)}\b|{re.escape(module.rpartition('.')[0])} import .*\b{inside.name}\b")
    tests = sorted(Path("tests").rglob("test_*.py"))
    importing = [test for test in tests if imports.search(test.read_text(encoding="utf-8"))]
    package = next(reversed(inside.parts[:-1]), inside.name).removesuffix("ing")
    rooms = [Path("tests", *inside.parts[:depth]) for depth in range(len(inside.parts) - 1, 0, -1)]
    room = next((sorted(folder.glob("test_*.py")) for folder in rooms if folder.is_dir()), [])
    users = [file.stem for file in sorted(SOURCE.rglob("*.py")) if imports.search(file.read_text(encoding="utf-8"))]
    of_users = [test for test in tests if test.stem.removeprefix("test_") in users]
    named, of_package = ([test for test in tests if word in test.stem] for word in (inside.name.strip("_"), package))
    # Tests that have the name but lie in another room are most often about something else.
    named.sort(key=lambda test: test not in room)
    nearest = [*named[:3], *importing[:3], *of_users[:1], *of_package[:2], *of_users, *named, *importing, *room]
    return list(dict.fromkeys(nearest))[:FILES_OF_TESTS]


def _is_noticed(fault: Fault) -> bool:
    whole = fault.path.read_bytes()
    begun = time.monotonic()
    try:
        fault.path.write_bytes(whole[: fault.start] + fault.new.encode() + whole[fault.end :])
        tests = map(str, nearest_tests(fault.path))
        command = [sys.executable, "-m", "pytest", "-q", "-x", f"--timeout={HANGS}", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        noticed = done.returncode != 0
        said = next((line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))), "")
    except subprocess.TimeoutExpired:
        noticed, said = False, f"the tests did not end in {SECONDS:.0f} s"
    finally:
        fault.path.write_bytes(whole)
    seconds = time.monotonic() - begun
    print(f"{'noticed  ' if noticed else 'UNNOTICED'} {seconds:4.0f} s  {fault}  {said[:120]}", flush=True)
    return noticed


def _changed(base: str) -> list[Path]:
    names = _git("diff", "--name-only", "--diff-filter=d", base, "--", str(SOURCE)).splitlines()
    return [Path(name) for name in names if name.endswith(".py")]


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout  # noqa: S607


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
