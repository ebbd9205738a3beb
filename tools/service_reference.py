"""Write `docs/reference/grpc.md`: the RPCs with their fields, from the descriptors, and their statuses.

python tools/service_reference.py          writes the page
python tools/service_reference.py --check  only tells whether it is up to date
"""

import sys
from pathlib import Path
from typing import Any

from cuvis_ai_core.grpc.messages.schema_generations import wire
from cuvis_ai_core.grpc.server.calls import configurations, inference, pipelines, plugins, sessions, training

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "grpc.md"

GROUPS = {
    "Sessions": sessions.CALLS,
    "Plugins": plugins.CALLS,
    "Configurations": configurations.CALLS,
    "Pipelines": pipelines.CALLS,
    "Running": inference.CALLS,
    "Training": {**training.CALLS, **training.STREAMS},
}

REFUSED: dict[str, dict[str, str]] = {
    "CreateSession": {"RESOURCE_EXHAUSTED": "as many sessions as the server has"},
    "SetSessionSearchPaths": {"RESOURCE_EXHAUSTED": "more than 64 paths"},
    "CloseSession": {},
    "LoadPlugins": {
        "INVALID_ARGUMENT": "the manifest cannot be read",
        "PERMISSION_DENIED": "a plugin that may not be loaded",
        "RESOURCE_EXHAUSTED": "more plugins than a session may have",
    },
    "LoadPlugin": {
        "INVALID_ARGUMENT": "the manifest cannot be read, or has several plugins",
        "PERMISSION_DENIED": "a plugin that may not be loaded",
        "RESOURCE_EXHAUSTED": "more plugins than a session may have",
    },
    "ListLoadedPlugins": {},
    "GetPluginInfo": {"NOT_FOUND": "no plugin of that name is loaded"},
    "ListAvailableNodes": {},
    "ClearPluginCache": {"PERMISSION_DENIED": "the server is for other machines too"},
    "ResolveConfig": {
        "NOT_FOUND": "no such kind of configuration, or no such file",
        "INVALID_ARGUMENT": "the file or an override breaks a rule, or asks for the server's environment",
        "PERMISSION_DENIED": "a file that is not below a root",
        "FAILED_PRECONDITION": "composing needs the extra `train`",
    },
    "GetParameterSchema": {"NOT_FOUND": "no such kind of configuration"},
    "ValidateConfig": {"NOT_FOUND": "no such kind of configuration", "INVALID_ARGUMENT": "no JSON"},
    "ListAvailablePipelines": {},
    "GetPipelineInfo": {
        "NOT_FOUND": "no such file",
        "INVALID_ARGUMENT": "an absolute path, one with `..`, or a broken file",
    },
    "LoadPipeline": {"INVALID_ARGUMENT": "no JSON, a rule is broken, or no such node class"},
    "LoadPipelineWeights": {
        "FAILED_PRECONDITION": "no pipeline yet",
        "NOT_FOUND": "no such file",
        "INVALID_ARGUMENT": "no source is given, or the weights do not fit",
        "PERMISSION_DENIED": "no regular file below a root",
    },
    "SavePipeline": {
        "FAILED_PRECONDITION": "no pipeline yet",
        "INVALID_ARGUMENT": "no path, or something cannot be written",
        "PERMISSION_DENIED": "not below a folder that may be written",
    },
    "GetPipelineInputs": {"FAILED_PRECONDITION": "no pipeline yet"},
    "GetPipelineOutputs": {"FAILED_PRECONDITION": "no pipeline yet"},
    "GetPipelineVisualization": {
        "FAILED_PRECONDITION": "no pipeline yet, or Graphviz is not installed",
        "INVALID_ARGUMENT": "another format than png, svg, dot, mermaid; or a content that breaks a rule",
    },
    "Inference": {
        "FAILED_PRECONDITION": "no pipeline yet",
        "UNIMPLEMENTED": "client and server share no memory",
        "INVALID_ARGUMENT": "shape, dtype and bytes do not go together; an input is missing; no such output; a node "
        "cannot work on its input",
        "PERMISSION_DENIED": "shared memory of the server",
        "RESOURCE_EXHAUSTED": "memory, or an answer larger than a message may be",
        "DEADLINE_EXCEEDED": "a plugin's own process took too long",
        "INTERNAL": "a node failed, with its name",
    },
    "SetProfiling": {"INVALID_ARGUMENT": "a negative number"},
    "GetProfilingSummary": {},
    "SetTrainRunConfig": {
        "FAILED_PRECONDITION": "it brings a pipeline and the session has one, or neither has",
        "INVALID_ARGUMENT": "a rule is broken",
        "NOT_FOUND": "a file is not there",
        "PERMISSION_DENIED": "a file that is not below a root",
    },
    "GetTrainStatus": {},
    "StopTrain": {},
    "GetTrainingCapabilities": {},
    "SaveTrainRun": {
        "FAILED_PRECONDITION": "no pipeline or no trainrun yet",
        "PERMISSION_DENIED": "not below a folder that may be written",
    },
    "RestoreTrainRun": {
        "NOT_FOUND": "no such file or session",
        "INVALID_ARGUMENT": "a rule is broken, or the weights do not fit",
        "PERMISSION_DENIED": "not below a root, or a plugin that may not be loaded",
    },
    "Train": {
        "FAILED_PRECONDITION": "no pipeline or no trainrun yet, or the training failed",
        "INVALID_ARGUMENT": "no such trainer, or a rule is broken",
        "PERMISSION_DENIED": "data that are not below a root",
        "RESOURCE_EXHAUSTED": "as many trainings as the server does are under way",
    },
}

HEAD = """\
# gRPC

`cuvis-ai serve` ([how to](../how-to/serve.md)) speaks `cuvis_ai.v1.CuvisAIService` in all generations of
cuvis-ai-schemas from 0.2 to 0.14: clients need not be changed, and clients of several generations may use one
server. This page is written by `tools/service_reference.py` from the descriptors.

## What holds for all

- A call that names a session that is not there is NOT_FOUND. Calls of one session run one after the other; those of
  several run at once. GetTrainStatus, StopTrain and CloseSession do not wait. Too many waiting calls are
  RESOURCE_EXHAUSTED.
- A message that cannot be read is INVALID_ARGUMENT, one that is too large RESOURCE_EXHAUSTED. A missing or wrong
  token is UNAUTHENTICATED. A bug is INTERNAL, with a number under which the server's log has the rest; no traceback
  leaves it.
- After a call that failed, the metadata `cuvis-error` names the class of the [error](errors.md), `cuvis-error-id`
  that number.
- A call ends soon after its client cancels it or its deadline is over: before the next node, and at once within a
  plugin that runs in a process of its own.
- A tensor's `raw_data` is little-endian, in C order. What the wire lacks becomes wider: int8 and int16 int32,
  uint32 int64, bfloat16 float32. Symbolic sizes are -1, a port of several dtypes is UNSPECIFIED.

### Metadata

| key | what it does |
|---|---|
| `authorization` | `Bearer …`, the token |
| `cuvis-schemas` | the version of the schemas that the client speaks, such as `0.2` |
| `cuvis-shm` | `1` asks for large outputs as `shm_ref`: a block that is there until it is freed or the session ends; \
`2` also for a reference where an output lies in the client's own sealed memory |
| `cuvis-shm-free` | names of such blocks, separated by commas, that are read |
| `cuvis-shm-kept` | after Inference: names of the client's sealed memory that a node still has an array on: not to be \
written again |
| `cuvis-left-out` | after Inference: outputs that are no arrays, and were not asked for by name |
| `cuvis-error`, `cuvis-error-id` | after a call that failed |

### Generations

Where two generations mean different things, `cuvis-schemas` decides if it is sent. Else, for ListAvailableNodes,
what the session's client called before does: LoadPlugins with texts in `provides` means 0.2 to 0.4, ports in lists;
with mappings, or LoadPlugin, ports as they are. Else it is `--generation`. GetPipelineInfo takes a path without
suffix for the name that 0.2 sends; ListAvailablePipelines answers as `--generation` says.
"""


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` compare it; return 1 if it differs."""
    text = HEAD + "".join(map(section, GROUPS))
    if arguments == ["--check"]:
        return int(not PAGE.is_file() or text != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(text, encoding="utf-8")
    return 0


def section(group: str) -> str:
    """Return the part of the page about a group of RPCs."""
    methods = wire().methods
    parts = [f"\n## {group}\n"]
    for name, handler in GROUPS[group].items():
        method = methods[name]
        summary = (handler.__doc__ or "").strip().partition("\n")[0]
        lines = [f"\n### `{name}`\n", f"\n{summary}\n\n"]
        lines.append(f"- request: {fields(method.request)}\n")
        lines.append(f"- answer{', several' if method.streams else ''}: {fields(method.response)}\n")
        if REFUSED[name]:
            lines.append("\n| status | why |\n|---|---|\n")
            lines += [f"| `{code}` | {why} |\n" for code, why in REFUSED[name].items()]
        parts += lines
    return "".join(parts)


def fields(message: Any) -> str:
    """Return the fields of a message, as `name` (number)."""
    found = [f"`{field.name}` ({field.number})" for field in message.DESCRIPTOR.fields]
    return ", ".join(found) or "nothing"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
