"""Nodes that do what nodes in a process of their own may do, the worst included."""

import ctypes
import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from cuvis_ai_core.errors import PortError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.enums import NodeCategory, NodeTag
from cuvis_ai_schemas.pipeline import PortSpec

ANYTHING = PortSpec("any", (), "whatever it is")


class Echo(ArrayNode):
    """Answer what is given, and what it looked like here."""

    INPUT_SPECS = {"value": ANYTHING}
    OUTPUT_SPECS = {"value": ANYTHING, "seen": PortSpec(str, ())}

    def forward(self, value):
        seen = f"{value.dtype} {value.shape}" if hasattr(value, "dtype") else repr(value)
        return {"value": value, "seen": seen}


class Scale(ArrayNode):
    """Scale a cube.

    Args:
        factor: What the cube is multiplied with.
        shape: Kept as it is given.
    """

    INPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, "bands"), "the cube", optional=False)}
    OUTPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, "bands")), "mean": PortSpec(float, (), optional=True)}
    STATE = ("mean",)
    _category = NodeCategory.TRANSFORM
    _tags = frozenset({NodeTag.HYPERSPECTRAL})
    _icon_name = "scale"

    def __init__(self, factor: float = 2.0, *, shape=(1, 2), **kwargs):
        super().__init__(factor=factor, shape=shape, offset=kwargs.pop("offset", 0.0), **kwargs)
        if factor == 0:
            raise ValueError("factor must not be 0")
        self.factor = factor
        self.bands = 3
        self.mean = None
        self.calls = 0

    def forward(self, cube, context=None):
        """Scale it."""
        self.calls += 1
        answer = {"cube": cube * np.float32(self.factor)}
        return answer if self.mean is None else {**answer, "mean": float(self.mean)}

    def statistical_initialization(self, input_stream):
        self.mean = np.float64(np.mean([batch["cube"].mean() for batch in input_stream]))

    def reset(self):
        self.calls = 0

    def cleanup(self):
        print("cleaned up", flush=True)


class Forgetful(Scale):
    """Learn, and keep what was learned out of the state."""

    STATE = ()


class Fragile(ArrayNode):
    """Answer a number that is loaded; one below zero is not to be asked for."""

    INPUT_SPECS = {}
    OUTPUT_SPECS = {"number": PortSpec(float, ()), "table": ANYTHING}

    def __init__(self, table=(), *, limit=1.0, **kwargs):
        super().__init__(table=table, limit=limit, **kwargs)
        self.table = table
        self.number = 1.0

    def forward(self):
        return {"number": self.number, "table": self.table}

    def state_dict(self):
        if self.number < 0:
            os._exit(4)
        return {"number": self.number} | {"odd": {"table": object()}, "large": {"table": np.zeros(2**16)}}.get(
            str(self.table), {}
        )

    def load_state_dict(self, state, strict=True):
        self.number = float(state["number"])

    def reset(self):
        self.number = 0.0

    def freeze(self):
        self.frozen = True

    def unfreeze(self):
        self.frozen = False

    def calibrate(self, table, limit):
        self.hparams.update(table=table, limit=limit)
        self.table = table

    def close(self):
        print("closed", flush=True)


class Keeper(ArrayNode):
    """Keep every cube, and answer the first one."""

    INPUT_SPECS = {"cube": PortSpec(np.float32, (-1,))}
    OUTPUT_SPECS = {"first": PortSpec(np.float32, (-1,))}

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.cubes = []

    def forward(self, cube):
        self.cubes.append(cube)
        return {"first": self.cubes[0]}

    def reset(self):
        self.cubes.clear()

    def prepare_inference(self):
        self.cubes = [np.full(1, os.getpid(), np.float32)]


class Share:
    """Count, as a metric of torchmetrics does."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.marked = self.all = 0

    def update(self, mask):
        self.marked, self.all = self.marked + int(mask.sum()), self.all + mask.size

    def compute(self):
        return np.float64(self.marked / self.all)


class Counting(ArrayNode):
    """Report the share and the maximum of each batch, and count the share of all so far."""

    INPUT_SPECS = {"mask": PortSpec("number", (-1, -1))}
    OUTPUT_SPECS = {"metrics": PortSpec(dict, ())}

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.share = Share()

    def pooled_metrics(self):
        return {"share": self.share}

    def forward(self, mask):
        self.share.update(mask)
        return {"metrics": {"share": float(mask.mean()), "highest": float(mask.max())}}


class Named(Exception):
    """The plugin's own."""


class Zero(ArrayNode):
    """Write into what is given."""

    INPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}

    def forward(self, cube):
        cube *= 0
        return {"cube": cube}


class Misbehaving(ArrayNode):
    """Do something bad, by name."""

    INPUT_SPECS = {"what": PortSpec(str, ())}
    OUTPUT_SPECS = {"answer": ANYTHING}

    def forward(self, what):
        return {"answer": getattr(self, what)()}

    def fine(self):
        return "fine"

    def raise_error(self):
        raise ValueError("too bright")

    def raise_ours(self):
        raise PortError("no such port", hint="Take another one.")

    def half(self):
        return [np.zeros(2**17), object()]

    def sleep(self):
        time.sleep(5)

    def say(self):
        print("a line\nthe second line")

    def sleep_and_exit(self):
        time.sleep(0.5)
        os._exit(3)

    def loop_a_little(self):
        time.sleep(0.01)
        return "done"

    def raise_own(self):
        raise Named("of the plugin")

    def segfault(self):
        ctypes.string_at(0)

    def exit(self):
        print("these are my last words", flush=True)
        os._exit(3)

    def system_exit(self):
        sys.exit("I leave")

    def kill(self):
        os.kill(os.getpid(), 9)

    def loop(self):
        while True:
            time.sleep(0.01)

    def flood(self):
        for _ in range(3000):
            os.write(1, b"flood " * 1000 + b"\n")
        return "still here"

    def fork(self):
        if os.fork() == 0:
            time.sleep(300)
        return "forked"

    def start(self):
        subprocess.Popen(["sleep", "300"])
        return "started"

    def unknown(self):
        return object()

    def environment(self):
        return dict(os.environ)

    def python(self):
        return [sys.version_info[:2], np.__version__, sys.prefix, sys.path]

    def core(self):
        import cuvis_ai_core
        import cuvis_ai_hookspecs
        from importlib.metadata import version

        files = [cuvis_ai_core.__file__, cuvis_ai_hookspecs.__file__]
        return [files, version("cuvis-ai-core"), version("cuvis-ai-schemas")]

    def meet(self):
        """Wait until another process waits too."""
        place = Path(os.environ["TMPDIR"])
        (place / f"here-{os.getpid()}").touch()
        while len(list(place.glob("here-*"))) < 2:
            time.sleep(0.005)
        return "met"

    def nodes(self):
        """Return the classes of the nodes that live in this process."""
        return [type(each).__name__ for each in gc.get_objects() if isinstance(each, ArrayNode)]

    def pid(self):
        return os.getpid()


class Busy(ArrayNode):
    """Keep a processor busy."""

    INPUT_SPECS = {"turns": PortSpec(int, ())}
    OUTPUT_SPECS = {"total": PortSpec(int, ())}

    def forward(self, turns):
        return {"total": sum(turn & 1 for turn in range(turns))}


class PerPixel(ArrayNode):
    """Adds a number, and tells how many pixels it got."""

    INPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}
    per_pixel = True

    def forward(self, cube):
        return {"cube": cube * 0 + cube.shape[1] * cube.shape[2]}


class Gathering(PerPixel):
    """Gathers statistics of the image, which it does not do from elsewhere."""

    per_pixel = True

    def tile_statistics(self, cube):
        return cube.mean()

    def merge_statistics(self, left, right):
        return left

    def forward_tile(self, statistics, cube):
        return self.forward(cube)

    def forward(self, cube):
        return {"cube": cube * 0 + cube.shape[1] * cube.shape[2]}
