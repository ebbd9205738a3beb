"""`cuvis-ai plugins check`: all that can be known of a plugin's project, without and then with running it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cuvis_ai_core.cli.shared.error_messages import FAILED
from cuvis_ai_core.cli.shared.options import GivenText, json_option, offline_option, plugins_option, shared_options
from cuvis_ai_core.cli.shared.output import say

if TYPE_CHECKING:
    from cuvis_ai_core.cli.plugins.check.findings import Finding
    from cuvis_ai_core.cli.plugins.check.subject import Subject


@click.command("check")
@click.argument("target", type=GivenText(), metavar="PATH|URL@TAG|NAME")
@click.option("--no-run", is_flag=True, help="Read only: build nothing, and run nothing of it.")
@plugins_option
@offline_option
@json_option
@shared_options
def check(target: str, no_run: bool, plugins_path: Path | None, as_json: bool) -> None:
    """Look for mistakes in a plugin: its folder, a tag of its repository, or its name.

    A name is that of a plugin in the manifest --plugins-path, or of one that is pip-installed from its folder. Each
    mistake is told with its line and what to write. The exit status is 1 if there is an error.
    """
    from cuvis_ai_core.cli.plugins.check.findings import ERROR, in_order
    from cuvis_ai_core.cli.plugins.check.subject import find
    from cuvis_ai_core.plugins.disk.altered_files import NO_SOURCE
    from cuvis_ai_core.plugins.installing.source_copy import refuse_unreadable

    subject = find(target, plugins_path)
    # Pipes were waited for, and devices have no end.
    refuse_unreadable(subject.folder, (".git", *NO_SOURCE))
    found, facts = _looked_at(subject, no_run=no_run)
    found = in_order(found)
    if as_json:
        plain = [{**each._asdict(), "file": each.place(subject.folder).rpartition(", line ")[0]} for each in found]
        say(json.dumps({"folder": str(subject.folder), **facts, "findings": plain}, indent=2))
    else:
        _print(subject, found, facts)
    if any(each.level == ERROR for each in found):
        raise click.exceptions.Exit(FAILED)


def _looked_at(subject: "Subject", *, no_run: bool) -> tuple[list["Finding"], dict[str, object]]:
    from cuvis_ai_core.cli.plugins.check import class_mistakes, import_side_effects, project_metadata
    from cuvis_ai_core.cli.plugins.check.findings import ERROR
    from cuvis_ai_core.cli.plugins.check.trial_run import node_paths
    from cuvis_ai_core.cli.shared.progress import working

    code = subject.code
    nodes = node_paths(code)
    points = [each.path.replace(":", ".") for each in subject.entry_points]
    named = {each.path for each in subject.provides} | {
        # Classes begin with a capital (PEP 8); what does not may be a module with hooks.
        path
        for path in points
        if path.rpartition(".")[2][:1].isupper()
    }
    written = [each for path in dict.fromkeys([*nodes, *sorted(named)]) if (each := code.find(path)) is not None]
    found = [
        finding
        for each in written
        for finding in (*class_mistakes.look_at(code, each), *import_side_effects.look_at_class(each))
    ]
    found += [
        finding
        for module in code.modules()
        if not module.is_test
        for finding in import_side_effects.look_at_module(module)
    ]
    found += project_metadata.look_at(subject)
    facts: dict[str, object] = {"nodes": nodes, "import_seconds": None, "wheel_bytes": None}
    if no_run:
        return found, facts
    from cuvis_ai_core.cli.plugins.check import trial_run, wheel

    if not any(each.rule == "project-file" for each in found):
        with working("Building its wheel"):
            more, facts["wheel_bytes"] = wheel.look_at(subject)
        found += more
    wrong = {
        each.path
        for each in subject.provides
        for finding in found
        if finding.rule == "names" and each.path in finding.said
    }
    if not any(each.rule in {"syntax", "project-file", "requires-python"} and each.level == ERROR for each in found):
        with working("Loading it"):
            run = trial_run.run(subject, wrong)
        found += run.findings
        facts |= {"nodes": run.nodes or nodes, "import_seconds": run.seconds and round(run.seconds, 3)}
    return found, facts


def _print(subject: "Subject", found: list["Finding"], facts: dict[str, object]) -> None:
    from cuvis_ai_core._printable_text import shown_size

    for each in found:
        say(f"{each.place(subject.folder)}: {each.level}: {each.said.rstrip('.')}.")
        for line in each.cure.splitlines():
            say(f"    {line}")
    nodes, size, seconds = facts["nodes"], facts["wheel_bytes"], facts["import_seconds"]
    assert isinstance(nodes, list)
    known = [_count(len(nodes), "node")]
    known += [f"imported in {seconds} s"] if seconds is not None else []
    known += [f"wheel of {shown_size(size)}"] if isinstance(size, int) else []
    errors = sum(each.level == "error" for each in found)
    counted = f"{_count(errors, 'error')}, {_count(len(found) - errors, 'warning')}" if found else "Nothing is wrong"
    say(f"{subject.name}: {counted}; {', '.join(known)}.")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
