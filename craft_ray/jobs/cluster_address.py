"""Whether a cluster answers at all: Ray itself tries a dead one for many minutes, silently."""

from __future__ import annotations

import socket
import time

from craft_ray.errors import ConfigError

TRY_FOR_S = 4.0
ONE_TRY_S = 4.0
CLIENT = "ray://"
CLIENT_PORT = 10001
"""Of `ray://host` without a port."""


def check_reachable(address: str) -> None:
    """That somebody listens where a cluster is said to be. Answers within about 10 seconds.

    Args:
        address: `ip:port`, `ray://host:port` or `auto`, the newest cluster of this machine.

    Raises:
        ConfigError: nobody listens there, or `auto` finds no cluster.
    """
    # RAY_ADDRESS goes before a setting in Ray, and a cluster that was killed leaves its address.
    from ray._private.services import get_ray_address_from_environment

    try:
        found: str = get_ray_address_from_environment(address, None)
    except ConnectionError as error:
        raise _refusal(address, address, str(error)) from error
    place = host_and_port(found)
    if place is None:
        return  # another kind of address, for Ray to judge
    deadline = time.monotonic() + TRY_FOR_S
    while True:
        try:
            socket.create_connection(place, timeout=ONE_TRY_S).close()
            return
        except OSError as error:
            if time.monotonic() > deadline or isinstance(error, socket.gaierror):
                raise _refusal(address, found, str(error)) from error
            time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))


def host_and_port(address: str) -> tuple[str, int] | None:
    """Of an address of a cluster; None if it has none."""
    is_client = address.startswith(CLIENT)
    text = address.removeprefix(CLIENT).split("?")[0].rstrip("/")
    if "://" in text:
        return None
    host, colon, port = text.rpartition(":")
    if is_client and not (colon and port.isdecimal()):
        host, port = text, str(CLIENT_PORT)
    if not host or not port.isdecimal():
        return None
    return host.strip("[]"), int(port)


def _refusal(address: str, found: str, reason: str) -> ConfigError:
    where = repr(address) if found == address else f"{address!r} ({found})"
    problem = (
        f"address: {where} must be a running Ray, but nobody answers there: {reason}; start the "
        "cluster, or unset RAY_ADDRESS and ray.address for a Ray on this machine"
    )
    return ConfigError("ray", [problem])
