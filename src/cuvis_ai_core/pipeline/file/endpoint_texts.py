"""The ends of edges as texts: `node.outputs.port`, `node.inputs.port` or `node.port`."""


def parse_endpoint(endpoint: str, side: str) -> tuple[str, str]:
    """Split `node.outputs.port`, `node.inputs.port` or `node.port` into node and port.

    Args:
        endpoint: The text.
        side: `outputs` or `inputs`: the end of the edge at which it stands.

    Raises:
        ValueError: It is none of these, or names the other side.
    """
    match endpoint.split("."):
        case [node, port] | [node, ("outputs" | "inputs"), port] if not node or not port:
            pass
        case [node, port]:
            return node, port
        case [node, given, port] if given == side:
            return node, port
        case [_, ("outputs" | "inputs"), _]:
            raise ValueError(f"'{endpoint}' is on the wrong side: an edge runs from outputs to inputs")
    raise ValueError(f"'{endpoint}' is no port: write 'node.{side}.port' or 'node.port'")
