"""Put small faults into the code, one at a time, and see whether the tests nearest to it notice.

python tools/mutants.py --sample 60 --seed 7                     in what differs from main
python tools/mutants.py --sample 20 src/cuvis_ai_core/pipeline   in these files and folders

A fault is one that a hand makes: a condition turned round, a comparison that is off by one, a step left out, an
argument forgotten, a number changed, a result not returned. Each is put into the file itself, which is written back
whatever happens; files with changes that are not committed are refused. Tools that mutate whole packages (mutmut,
cosmic-ray) run one set of tests for all of them; here that takes ten minutes, so the nearest tests are chosen by file.
With a map of which test executes which line, those that execute the line of a fault come before them:

uv run --with pytest-cov pytest -m "not slow" --cov=src/cuvis_ai_core --cov-context=test --cov-report=
python tools/mutants.py --contexts .coverage
"""

import argparse
import ast
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil
from coverage import CoverageData

ROOT = Path(__file__).resolve().parent.parent

SOURCE = Path("src/cuvis_ai_core")

NOTICED = 0.9
"""Share of faults that tests have to notice."""

NEAR = 15
"""Quick tests of so many files come first."""

NEAR_SLOW = 4
"""Then slow ones of so many, and then quick ones further away."""

FAR = 1000
"""More imports than ever lie between two modules."""

NO_TESTS = 5
"""What pytest returns where it found nothing to run."""

NO_SUCH_TEST = 4
"""What pytest returns where it was told to run one that is not there."""

HANGS = 100
"""Seconds by the clock after which a test that goes on has noticed the fault, by hanging."""

CROWDED = 10
"""So many programs may share a processor on a busy machine."""

SECONDS = 240.0
"""So much of processors tests may take for one fault: what they did not notice with it is as good as unnoticed."""

OFTEN = 0.1
"""Seconds after which it is looked again at how much of processors tests took."""

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
    of_processors = "seconds of processors that tests may take for one (%(default)s)"
    parser.add_argument("--seconds", type=float, default=SECONDS, help=of_processors)
    parser.add_argument("--contexts", type=Path, help="coverage data that says which test executes which line")
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
    data = CoverageData(options.contexts) if options.contexts else None
    if data:
        data.read()
    chance = random.Random(options.seed)  # noqa: S311 - nothing secret, and the same again for the same seed
    sample = chance.sample(faults, min(options.sample, len(faults)))
    missed = [fault for fault in sample if not _is_noticed(fault, options.seconds, data)]
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
    """Return the files of tests that may notice a fault of a source file, the nearest first.

    First those of its name; those that import it, from itself or from a package that hands it on; those that have some
    words of its name, of its room before others; then all in the folder that mirrors its room and in the folders around
    that one. Among equals, words in common count, then how few imports lie between.
    """
    inside = [part for part in path.with_suffix("").relative_to(SOURCE).parts if part != "__init__"]
    distances = _distances(".".join(("cuvis_ai_core", *inside)))
    own, package = _words(inside[-1]) if inside else set(), _words(" ".join(inside[:-1]))
    rooms = [Path("tests", *inside[:depth]) for depth in range(len(inside) - 1, -1, -1)] or [Path("tests")]
    ranked = []
    for test in sorted(Path("tests").rglob("test_*.py")):
        words = _words(test.stem)
        distance = min((distances.get(each, FAR) for each, _ in _imports(_tree(test), "")), default=FAR)
        room = next(place for place, folder in enumerate(rooms) if test.is_relative_to(folder))
        elsewhere = room == len(rooms) - 1 and test.parent != rooms[0]
        if not distance or words & own or not elsewhere:
            shared = 2 * len(words & own) + len(words & package)
            rank = 0 if own <= words else 1 if not distance else 2 if words & own else 3
            order = (rank, elsewhere, room + (test.parent != rooms[room]), -shared, distance)
            ranked.append((order, test))
    return [test for _, test in sorted(ranked)]


def executing_tests(fault: Fault, data: CoverageData) -> list[str]:
    """Return the tests that execute the line of a fault or, where it goes on a statement, the line before it.

    Those of the nearest files come first.
    """
    named = next((name for name in data.measured_files() if Path(name).resolve() == fault.path.resolve()), "")
    contexts = data.contexts_by_lineno(named)
    near = {path.as_posix(): rank for rank, path in enumerate(nearest_tests(fault.path))}
    for line in range(fault.line, 0, -1):
        tests = {test.rpartition("|")[0] or test for test in contexts.get(line, ())} - {""}
        if tests:
            return sorted(tests, key=lambda test: (near.get(test.partition("::")[0], len(near)), test))
    return []


def _distances(module: str) -> dict[str, int]:
    """Return how many imports lie between a module and each that needs it; a package that hands it on counts none."""
    importers = _importers()
    found = {module: 0}
    waiting = deque([module])
    while waiting:
        needed = waiting.popleft()
        for importer, is_package in importers.get(needed, ()):
            further = found[needed] + (not is_package)
            if further < found.get(importer, FAR):
                found[importer] = further
                (waiting.append if further > found[needed] else waiting.appendleft)(importer)
    return found


@cache
def _importers() -> dict[str, set[tuple[str, bool]]]:
    """Return the modules that import each module or name, and whether each is a package that hands it on."""
    importers: dict[str, set[tuple[str, bool]]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ("cuvis_ai_core", *path.with_suffix("").relative_to(SOURCE).parts)
        is_package = parts[-1] == "__init__"
        importer = ".".join(parts[:-1] if is_package else parts)
        for imported, name in _imports(_tree(path), ".".join(parts[:-1])):
            # Who takes one name from a package need not have anything to do with all the others that it hands on.
            importers.setdefault(imported, set()).add((f"{importer}.{name}" if is_package else importer, is_package))
    return importers


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    """Return what a module imports, in full, each with the name that it gets; of a name also where it is taken from."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((each.name, each.asname or each.name) for each in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = ".".join(package.split(".")[: len(package.split(".")) - level + 1]) if level else ""
                source = ".".join(part for part in (base, module) if part)
                for each in names:
                    yield from ((imported, each.asname or each.name) for imported in (source, f"{source}.{each.name}"))


@cache
def _tree(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


def _words(name: str) -> set[str]:
    """Return the words of a name, without the endings that tell `install` from `installing` and one from many."""
    return {re.sub(r"(?<=...)(ing|er|ed|s)$", "", word) for word in re.findall("[a-z]+", name)}


def _is_noticed(fault: Fault, limit: float, data: CoverageData | None) -> bool:
    whole = fault.path.read_bytes()
    tests = nearest_tests(fault.path)
    executing = executing_tests(fault, data) if data else []
    try:
        fault.path.write_bytes(whole[: fault.start] + fault.new.encode() + whole[fault.end :])
        said, seconds = _first_failure(tests, limit, executing)
    finally:
        fault.path.write_bytes(whole)
    print(f"{'noticed  ' if said else 'UNNOTICED'} {seconds:4.0f} s  {fault}  {said[:120]}", flush=True)
    return bool(said)


def _first_failure(tests: list[Path], limit: float, executing: Sequence[str] = ()) -> tuple[str, float]:
    """Run tests, those that execute the line first and then the nearest, up to a limit in seconds of processors.

    Returns:
        What the first that fails says, and how many seconds all took.
    """
    near, further = [str(test) for test in tests[:NEAR]], [str(test) for test in tests[NEAR:]]
    spent = 0.0
    for marks, chosen in (("", executing), ("not slow", near), ("slow", near[:NEAR_SLOW]), ("not slow", further)):
        if not chosen:
            continue
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-m", marks, f"--timeout={HANGS}"]
        code, said, seconds = _run([*command, "-p", "no:cacheprovider", "-p", "no:randomly", *chosen], limit - spent)
        spent += seconds
        if code is None:
            return "", spent
        # A map may be older than the tests. What else ends so, as an import that fails, is seen by the next tests too.
        if code not in {0, NO_TESTS} and not (code == NO_SUCH_TEST and chosen is executing):
            lines = said.splitlines()
            failed = next((line for line in lines if line.startswith(("FAILED", "ERROR"))), "")
            return failed or "the run of tests broke off", spent
    return "", spent


def _run(command: list[str], limit: float) -> tuple[int | None, str, float]:
    """Return how a program ended, what it said, and the seconds of processors it took with all that it started.

    Seconds by the clock would count what a busy machine does meanwhile. But what waits, as an import for a lock, takes
    none of a processor, and would never end: the clock is asked too, which has to be more patient.
    """
    seconds, patience = 0.0, HANGS + CROWDED * limit
    deadline = time.monotonic() + patience
    with tempfile.TemporaryFile() as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        top = psutil.Process(process.pid)
        while seconds < limit and time.monotonic() < deadline:
            try:
                code = process.wait(OFTEN)
            except subprocess.TimeoutExpired:
                seconds = max(seconds, _processor_seconds(top))
                continue
            output.seek(0)
            return code, output.read().decode(errors="replace"), seconds
        for each in [*top.children(recursive=True), top]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        if seconds < limit:
            return process.wait(), f"ERROR it still waits after {patience:.0f} seconds by the clock", seconds
    return None, "", seconds


def _processor_seconds(top: psutil.Process) -> float:
    total = 0.0
    for each in [top, *top.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            total += sum(each.cpu_times()[:4])  # its own, and those of its children that have ended
    return total


def _changed(base: str) -> list[Path]:
    names = _git("diff", "--name-only", "--diff-filter=d", base, "--", str(SOURCE)).splitlines()
    return [Path(name) for name in names if name.endswith(".py")]


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
