"""A process that loads a plugin again and again, each time in a forked one, which may be killed in the middle.

It reads one JSON object per line: `cache`, `url`, `mark`, `offline` where uv shall do with what it has and, where it
shall be interrupted, `kill` (`process`, `group` or `child`), `event` and `delay`. Events are those in which files are
made, moved or removed, locks taken and programs started: the `event`-th of them, and then `delay` seconds, is when the
kill happens. It answers with `events` and with `version`, or `error` with `cause`, or neither where it was killed.
"""

import json
import os
import pkgutil
import signal
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import cuvis_ai_schemas.pipeline  # noqa: F401 - as the plugin, once for all forked processes; and so below
import git  # noqa: F401
import numpy as np  # noqa: F401
import psutil

import cuvis_ai_core.node  # noqa: F401
from cuvis_ai_core import NodeRegistry, plugins

_TOLD = frozenset(
    {
        "fcntl.flock", "os.chmod", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.utime",
        "shutil.copytree", "shutil.rmtree", "subprocess.Popen", "tempfile.mkdtemp", "tempfile.mkstemp",
    }
)  # fmt: skip


class Faults:
    """Counts events, and kills at one of them.

    Args:
        order: What shall happen (see above).
    """

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self.events = 0

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Be told of an event by the interpreter."""
        if event not in _TOLD and not (event == "open" and _writes(arguments)):
            return
        if self._order.get("kill") == "child" and event != "subprocess.Popen":
            return
        self.events += 1
        if self.events == self._order.get("event"):
            if self._order["delay"]:
                threading.Thread(target=self._kill_later, daemon=True).start()
            else:
                self._kill()

    def _kill_later(self) -> None:
        time.sleep(self._order["delay"])
        self._kill()

    def _kill(self) -> None:
        if self._order["kill"] == "child":
            for child in psutil.Process().children():
                child.kill()
        elif self._order["kill"] == "group":
            os.killpg(0, signal.SIGKILL)
        else:
            os.kill(os.getpid(), signal.SIGKILL)


def _writes(arguments: tuple[Any, ...]) -> bool:
    return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def load(order: dict[str, Any], answer: Path) -> None:
    """Load the plugin, and write the answer."""
    os.setpgid(0, 0)
    os.environ["TORCH_STARTED_BY_TEST"] = order["mark"]
    if order.get("offline"):
        os.environ["UV_OFFLINE"] = "1"
    NodeRegistry.set_cache_dir(order["cache"])
    faults = Faults(order)
    sys.addaudithook(faults.hear)
    said: dict[str, Any] = {}
    try:
        registry = NodeRegistry(discover=False)
        registry.load_plugin("echo", {"repo": order["url"], "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]})
        said["version"] = registry.get("Echo").VERSION  # type: ignore[attr-defined]
    except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to see it
        said |= {
            "error": str(error),
            "cause": type(error.__cause__).__name__,
            "mro": [each.__name__ for each in type(error.__cause__).__mro__],
        }
    answer.write_text(json.dumps({**said, "events": faults.events}))


def main(answer: Path) -> None:
    """Obey until there are no more orders."""
    # What a load imports: in each forked process that, and what its plugin imports, took two thirds of the time.
    for module in pkgutil.walk_packages(plugins.__path__, f"{plugins.__name__}."):
        if ".worker." not in module.name:  # some need torch
            import_module(module.name)
    for line in sys.stdin:
        answer.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            load(json.loads(line), answer)
            os._exit(0)
        os.waitpid(pid, 0)
        print(answer.read_text() if answer.exists() else "{}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
