"""Whether anybody listens at the address of an endpoint, for a word at once: the gate, which may be
in a process of its own, goes on trying for its patience. Standard library only."""

from __future__ import annotations

import socket
import urllib.request
from urllib.parse import urlsplit

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.oracle import AnyOracleConfig

LOOK_FOR_S = 2.0
PORTS = {"http": 80, "https": 443}


def nobody_listens(config: AnyOracleConfig) -> str | None:
    """A sentence if this machine is refused a connection to the endpoint; None if it is not, if
    nobody knows, and of a model that is loaded. No request is sent."""
    if not isinstance(config, EndpointConfig):
        return None
    address = urlsplit(config.url)
    host = address.hostname or ""
    if address.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return None
    try:
        port = address.port or PORTS[address.scheme]
        with socket.create_connection((host, port), timeout=LOOK_FOR_S):
            return None
    except ConnectionRefusedError:
        return (
            f"Nobody listens at {config.url} (connection refused): it is tried again for "
            f"{config.longest_wait_s:g} s."
        )
    except (OSError, ValueError, KeyError):  # the gate finds out, and says it better
        return None
