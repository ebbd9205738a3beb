"""Proxies that the environment names, by which gRPC goes: never to this machine, of which a proxy knows nothing."""

import ipaddress
import os
import re
from typing import Final

_HOST: Final = re.compile(r"(?:(?:ipv4|ipv6|dns):(?://[^/]*/)?)?(?:\[([^]]*)\]|([^:/]*))(?::\d+)?")
_VARIABLES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
"""Where gRPC looks, in this order."""


def without_proxy(address: str) -> list[tuple[str, int]]:
    """Return the options of a channel to an address that keep gRPC from going by a proxy where that leads nowhere."""
    return [("grpc.enable_http_proxy", 0)] if _is_here(address) else []


def proxy_hint(address: str) -> str:
    """Return how to go past a proxy on the way to an address; nothing where there is none on it."""
    named = next((name for name in _VARIABLES if os.environ.get(name)), None)
    if named is None or address.startswith("unix") or without_proxy(address):
        return ""
    return f" {named} has the call go by a proxy; past it: no_grpc_proxy={_host(address)}."


def _host(address: str) -> str:
    found = _HOST.fullmatch(address)
    return (found[1] or found[2] or "") if found else ""


def _is_here(address: str) -> bool:
    host = _host(address)
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
