"""Plugins in an environment and a process of their own (`isolation: process`).

worker_setup     from a manifest entry to node classes that stand for those in the worker (`proxy_classes`, `proxy`)
worker_process   the process: started when it is first needed, ended with its registry, started anew after a crash
connection       requests and answers, and how it ended; `remote_errors` has its exceptions, `crash_logs` its last words
message_framing  messages; `value_encoding` says what can cross in them, `shared_memory` how large arrays do
serve            the worker's own program; `describe_nodes` tells the host what the node classes look like
"""

from typing import Final

# Here, where both ends have it: neither imports what the other one needs.
METHODS: Final = (
    "freeze",
    "unfreeze",
    "cleanup",
    "close",
    "reset",
    "state_dict",
    "load_state_dict",
    "calibrate",
    "prepare_inference",
    "pooled_metrics",
)
"""What a node may have beside `forward`, and the host may call."""
