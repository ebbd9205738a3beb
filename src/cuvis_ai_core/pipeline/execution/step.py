"""Running one step: a node gets its inputs from their slots, converted and checked, and its outputs are checked."""

from collections.abc import Mapping

from cuvis_ai_core._error_location import definition_of, frames_of, place_of, words_of
from cuvis_ai_core.errors import CuvisError, NodeRunError, PortError, RemoteError
from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.pipeline.execution.input_write_errors import failure_to_write, refuse_written
from cuvis_ai_core.pipeline.execution.plan import Plan, SlotCheck, Step
from cuvis_ai_core.pipeline.execution.read_only_inputs import ARRAY, lend
from cuvis_ai_core.pipeline.execution.value_checks import describe_value, misfit
from cuvis_ai_core.pipeline.execution.value_conversion import why_not, without_mask
from cuvis_ai_core.pipeline.port_compatibility import ResolvedPort
from cuvis_ai_core.plugins.isolation.private_names import PARENT


def run_step(step: Step, plan: Plan, values: list[Value]) -> None:  # noqa: C901 - in one piece, a call less for each node
    """Run one node: its inputs are in their slots before, its outputs afterwards.

    Raises:
        PortError: A value does not fit its port, or the node returns other outputs than it declares.
        NodeRunError: Its `forward` failed, or wrote into what it was given.
    """
    arguments: dict[str, Value] = {}
    lends = step.lends
    for name, slot in step.arguments:
        value = values[slot]
        if type(value) is ARRAY:  # what `lend` does, for what is there most often
            value = value.view()
            value.setflags(False)  # type: ignore[call-arg] # a keyword takes twice the time
        elif value is not None:
            lends = True
        arguments[name] = value
    if step.prepares:
        _prepare(step, arguments, values)
    lent = lend(arguments, step.copied) if lends else ()
    try:
        results = (step.call if step.hooks and any(step.hooks) else step.forward)(**arguments)
    except (Exception, SystemExit) as error:  # a node that calls sys.exit does not end the program
        raise _failure(step, plan, values, arguments, error) from error
    if lent:
        refuse_written(step, plan, values, lent)
    if type(results) is not dict or results.keys() != step.output_names:
        results = _complete(step, results)
    for output in step.outputs:
        value = results[output.name]
        if type(value) is not ARRAY:
            value = without_mask(value)
        if output.fits is not None and not output.fits(value):
            raise _misfit("Output", output.port, value, definition_of(step.forward))
        values[output.slot] = value
    for slot in step.released:
        values[slot] = None


def _prepare(step: Step, arguments: dict[str, Value], values: list[Value]) -> None:
    """Add what comes from several nodes, and convert what the node takes otherwise."""
    for name, slots in step.fan_in:
        # An optional output that its node left out adds nothing.
        arguments[name] = [value for slot in slots if (value := values[slot]) is not None]
    for check in step.checks:
        if not check.fits(values[check.slot]):
            _replace(arguments, check, values[check.slot])
    if step.conversions:
        _convert(step, arguments)


def _replace(arguments: dict[str, Value], check: SlotCheck, value: Value) -> None:
    """Hand this node a value in the type that its port takes; other nodes get it as it is."""
    name, converted = check.port.port.name, convert_to_fit(check, value)
    if check.port.port.variadic:
        arguments[name] = [converted if each is value else each for each in arguments[name]]
    else:
        arguments[name] = converted


def convert_to_fit(check: SlotCheck, value: Value) -> Value:
    """Return a value in the type that an input takes.

    Raises:
        PortError: It does not fit then either.
    """
    converted = check.convert(value)
    if not check.fits(converted):
        raise _misfit("Input", check.port, value, hint=why_not(check.port, value))
    return converted


def _convert(step: Step, arguments: dict[str, Value]) -> None:
    """Make of arrays those of the library that the node takes."""
    for name, convert in step.conversions:
        try:
            arguments[name] = convert(arguments[name])
        except Exception as error:
            raise PortError(
                f"Input '{name}' of node '{step.node}': {describe_value(arguments[name])} cannot become an array of "
                f"the library that the node takes: {error}",
                node=step.node,
                port=name,
            ) from error


def _complete(step: Step, results: object) -> dict[str, Value]:
    """Return the outputs with None for the optional ones that were left out."""
    if not isinstance(results, dict):
        raise PortError(
            f"Node '{step.node}' returned {describe_value(results)}; `forward` returns a dict of its output ports."
            + _shown_place(step),
            hint=_return_line(step),
            node=step.node,
            place=definition_of(step.forward),
        )
    required = {output.name for output in step.outputs if not output.port.port.optional}
    absent = sorted(required - results.keys())
    unknown = sorted(map(str, results.keys() - step.output_names))
    if absent or unknown:
        problem = "did not return its output" if absent else "returned what is no output of it:"
        raise PortError(
            f"Node '{step.node}' {problem} '{(absent or unknown)[0]}'." + _shown_place(step),
            hint=f"OUTPUT_SPECS declares {', '.join(sorted(step.output_names)) or 'no outputs'}; "
            f"forward returned {', '.join(map(str, results)) or 'an empty dict'}.\n{_return_line(step)}",
            node=step.node,
            port=(absent or unknown)[0],
            place=definition_of(step.forward),
        )
    return {**dict.fromkeys(step.output_names), **results}


def _return_line(step: Step) -> str:
    return f"Write: return {{{', '.join(f'{name!r}: ...' for name in sorted(step.output_names))}}}"


def _shown_place(step: Step) -> str:
    place = definition_of(step.forward)
    return f" ({place})" if place else ""


def _misfit(
    direction: str, port: ResolvedPort, value: Value, place: str | None = None, hint: str | None = None
) -> PortError:
    return PortError(
        f"{direction} '{port.port.name}' of node '{port.node}': {misfit(port, value)}"
        + (f" ({place})." if place else "."),
        hint=hint,
        node=port.node,
        port=port.port.name,
        place=place,
    )


def _failure(
    step: Step, plan: Plan, values: list[Value], arguments: Mapping[str, Value], error: BaseException
) -> NodeRunError:
    written = failure_to_write(step, plan, values, arguments, error)
    if written is not None:
        return written
    inputs = ", ".join(f"{name} {describe_value(value)}" for name, value in arguments.items())
    place = place_of(error, step.forward)
    hint = f"Its inputs: {inputs or 'none'}."
    if isinstance(error, CuvisError) and error.hint and not isinstance(error, RemoteError):  # that has a traceback
        hint += f"\n{error.hint}"
    copy = _looking_itself_up(error)
    if copy is not None:
        hint += (
            f"\nThe plugin has '{copy}' for itself, beside another version, and that looks itself up by its name. With "
            "isolation: process in the plugin's manifest entry it is the only one."
        )
    return NodeRunError(
        f"Node '{step.node}' failed in stage '{plan.stage}': {words_of(error)}" + (f" ({place})" if place else ""),
        hint=hint,
        node=step.node,
        stage=plan.stage,
        place=place,
    )


def _looking_itself_up(error: BaseException) -> str | None:
    """Return the library that a plugin has for itself, under a name that the library does not know, or None."""
    if PARENT not in words_of(error):
        return None
    from cuvis_ai_core.plugins.isolation.scope import own_copy

    names = [str(frame.f_globals.get("__name__")) for frame, _ in frames_of(error)]
    return next((own_copy(name) for name in reversed(names) if name.startswith(PARENT)), None)
