"""Advice for people at a command line, in words for who calls by gRPC: fields and calls for options."""

import re
from typing import Final

_SAID: Final[tuple[tuple[str, str], ...]] = (
    (r"Pipeline\.load\(.*?\), or --weights-path \w+\.\w+", "LoadPipelineWeights, by weights_path or weights_bytes"),
    (r"restore-trainrun --mode train", "Train"),
    (r"Name the folder of the manifests: --plugins-dir; or", "Load its plugin: LoadPlugin; or"),
    (r"by a manifest that you name: --plugins-dir, --plugins-path; or", "by LoadPlugin; or"),
    (r" \(--measurement, index=\)", ""),
    (r"allow it: --allow-env \S+ \(or ([^)]*)\)", r"write it there, or have whoever runs the server allow it: \1"),
    (r"raise the limit: --unpack-limit SIZE \(or ([^)]*)\)", r"have whoever runs the server raise the limit: \1"),
    (r"with --output-dir or with output_dir in a trainrun", "with output_dir in the trainrun"),
    (r"--override (\w+)=(\.\.\.|[\w/-]+)", r"\1 in the trainrun"),
    (r" or with the option --allow-build [\w.-]+", ""),
    (r"without --offline and", "without"),
)
"""Phrases of errors from the rooms below, and what is said of it here."""

_OPTION: Final = re.compile(r"(?<![\w-])--[a-z]")
_OTHERS: Final = re.compile(r"(?<![\w-])(?:uv|git|gpg|pip) ")
"""Programs whose command lines whoever runs the server may type."""


def for_clients(hint: str | None) -> str | None:
    """Return a hint without options of our commands: what has no counterpart is left out."""
    if hint is None or _OPTION.search(hint) is None:
        return hint
    for phrase, words in _SAID:
        hint = re.sub(phrase, words, hint)
    lines = (re.split(r"(?<=[.!?;])(?= )", line) for line in hint.split("\n"))
    kept = ("".join(part for part in line if not _is_ours(part)).strip() for line in lines)
    return "\n".join(filter(None, kept)) or None


def _is_ours(sentence: str) -> bool:
    return _OPTION.search(sentence) is not None and _OTHERS.search(sentence) is None
