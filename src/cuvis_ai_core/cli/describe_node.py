"""One node class for people: what it does, its ports, its hyper-parameters."""

import inspect
from typing import TYPE_CHECKING

from cuvis_ai_core.cli.shared.output import say
from cuvis_ai_core.cli.shared.tables import print_table
from cuvis_ai_core.node.class_checks import check_class
from cuvis_ai_core.node.ports import Port, read_ports
from cuvis_ai_core.results.node_origin import origin_of

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry

_NOT_SHOWN = frozenset({"name", "execution_stages"})
"""What every node takes: a pipeline sets it beside the hyper-parameters."""


def print_node(registry: "NodeRegistry", node_class: type) -> None:
    """Print the description of a node class.

    Raises:
        InvalidNodeError: The class cannot work as it is written.
        PipelineError: The file with the defaults of its plugin is broken.
    """
    check_class(node_class)
    inputs, outputs = (read_ports(node_class, side) for side in ("INPUT_SPECS", "OUTPUT_SPECS"))
    say(f"{node_class.__name__}: {summary(node_class) or 'not documented'}\n")
    say(f"Path:   {registry.public_path(node_class)}")
    say(f"Plugin: {origin_of(registry, node_class)}")
    for title, ports in (("Inputs", inputs), ("Outputs", outputs)):
        say()
        if ports:
            rows = [(port.name, str(port), note(port) or "-", port.description) for port in ports.values()]
            print_table(("port", "type", "note", "description"), rows, title=title)
        else:
            say(f"{title}: none")
    parameters = parameter_lines(node_class)
    say("\nHyper-parameters:" + ("" if parameters else " none"))
    for parameter in parameters:
        say(f"  {parameter}")
    defaults = registry.node_defaults(registry.public_path(node_class))
    if defaults is not None:
        say(f"\nIts plugin gives it, where a pipeline does not ({defaults.file}):")
        for key, value in defaults.params.items():
            say(f"  {key}: {value}")


def summary(node_class: type) -> str:
    """Return the first paragraph of a class's own docstring, in one line."""
    # Not `inspect.getdoc`: it answers with the text of a base class where a class has none.
    return " ".join(inspect.cleandoc(node_class.__doc__ or "").partition("\n\n")[0].split())


def note(port: Port) -> str:
    """Return what is special about a port."""
    return ", ".join(["optional"] * port.optional + ["takes several edges"] * port.variadic)


def parameter_lines(node_class: type) -> list[str]:
    """Return the parameters of a class with their types and defaults, as Python writes them."""
    try:
        signature = inspect.signature(node_class)
    # As `inspect.signature` says of compiled classes that do not tell theirs.
    except (TypeError, ValueError):
        return ["(not known: the class has no signature)"]
    return [str(parameter) for name, parameter in signature.parameters.items() if name not in _NOT_SHOWN]
