"""What private modules cost, as ratios and differences against plain imports of the same code in the same run.

python benchmarks/isolation.py [runs]
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

MODULES = 300

MODULE = """\
import os
import json.decoder

class C:
    def work(self, x):
        return x + NUMBER
"""

PACKAGE = {
    "big/__init__.py": "".join(f"from big import m{number}\n" for number in range(MODULES)),
    **{f"big/m{number}.py": MODULE.replace("NUMBER", str(number)) for number in range(MODULES)},
    "hot/__init__.py": """\
import timeit

def loop():
    total = 0
    for i in range(20000):
        total += len(str(i)) + abs(-i) + isinstance(i, int)
    return total

def bytecode():
    return min(timeit.repeat(loop, number=5, repeat=9)) / 5

def late_import():
    from hot import leaf
    return leaf

def late():
    late_import()
    return min(timeit.repeat(late_import, number=20000, repeat=7)) / 20000
""",
    "hot/leaf.py": "",
    # Code of the environment, which has no module of that name itself.
    "host/library.py": "import lent\n\ndef value():\n    return lent.VALUE\n",
    "lent.py": "VALUE = 1\n",
    "hot/caller.py": "import library\n\nlibrary.value()\n",
}

SCRIPT = """
import sys, time
from cuvis_ai_core.plugins.isolation.finder import install_finder
from cuvis_ai_core.plugins.isolation.scope import Code, open_scope
mode, folder = sys.argv[1:]
sys.path.insert(0, f"{folder}/host")
if mode == "scoped":
    install_finder()
    tops, lent = frozenset({"big", "hot", "lent"}), frozenset({"lent"})
    scope = open_scope("bench", "bench", Code((folder,), tops, lent, frozenset(), {}, editable=False))
    bring = scope.import_module
else:
    import importlib
    sys.path.insert(0, folder)
    bring = importlib.import_module
begun = time.perf_counter()
bring("big")
package = time.perf_counter() - begun
hot = bring("hot")
import timeit
names = iter(range(10**9))
def other():
    try:
        __import__(f"no_such_module_{next(names)}")
    except ImportError:
        pass
value = bring("hot.caller").library.value
lent = min(timeit.repeat(value, number=1000, repeat=5)) / 1000
print(package, hot.bytecode(), hot.late(), min(timeit.repeat(other, number=300, repeat=5)) / 300, lent)
"""

ROWS = (
    (f"import of a package of {MODULES} modules", 1e3, "ms"),
    ("bytecode", 1e3, "ms"),
    ("late import in a function", 1e9, "ns"),
    ("import of another module that is not there", 1e6, "us"),
    ("attribute of a lent module", 1e6, "us"),
)


def main(runs: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in PACKAGE.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        pairs = [(_measure("scoped", folder), _measure("plain", folder)) for _ in range(runs + 1)][1:]
    print(f"{'':44} {'private':>10} {'plain':>10} {'ratio':>6} {'plus':>10}")
    for row, (name, factor, unit) in enumerate(ROWS):
        private, plain = (statistics.median(pair[side][row] for pair in pairs) for side in (0, 1))
        ratio = statistics.median(pair[0][row] / pair[1][row] for pair in pairs)
        ours, theirs, plus = (seconds * factor for seconds in (private, plain, private - plain))
        print(f"{name:44} {ours:8.1f}{unit} {theirs:8.1f}{unit} {ratio:6.3f} {plus:+8.1f}{unit}")


def _measure(mode: str, folder: str) -> list[float]:
    command = [sys.executable, "-c", SCRIPT, mode, folder]
    return [float(text) for text in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
