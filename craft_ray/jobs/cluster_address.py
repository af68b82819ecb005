"""Whether a cluster answers at all: Ray itself tries a dead one for many minutes, silently."""

from __future__ import annotations

import os
import socket
import time

from craft_ray.errors import ConfigError

TRY_FOR_S = 4.0
ONE_TRY_S = 4.0
ANSWER_WITHIN_S = 10.0
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How HTTP/2 begins, which gRPC is spoken over: its preface, and a frame of no settings."""
SETTINGS_FRAME = 4
"""The kind of the first frame that a server answers with; the fourth byte of it."""
NOBODY = "nobody answers there"
CLIENT = "ray://"
CLIENT_PORT = 10001
"""Of `ray://host` without a port."""


def check_reachable(address: str) -> None:
    """That somebody listens where a cluster is said to be, and speaks gRPC, as Ray does. Answers
    within about 15 seconds.

    Args:
        address: `ip:port`, `ray://host:port` or `auto`, the newest cluster of this machine.

    Raises:
        ConfigError: nobody listens there, something else does, or `auto` finds no cluster.
    """
    # RAY_ADDRESS goes before a setting in Ray, and a cluster that was killed leaves its address.
    from ray._private.services import get_ray_address_from_environment

    try:
        found: str = get_ray_address_from_environment(address, None)
    except ConnectionError as error:
        raise _refusal(address, address, f"{NOBODY}: {error}") from error
    place = host_and_port(found)
    if place is None:
        return  # another kind of address, for Ray to judge
    deadline = time.monotonic() + TRY_FOR_S
    while True:
        try:
            with socket.create_connection(place, timeout=ONE_TRY_S) as connection:
                if not _speaks_grpc(connection):
                    reason = "what listens on this port is no Ray, or hangs"
                    raise _refusal(address, found, reason)
            return
        except OSError as error:
            if time.monotonic() > deadline or isinstance(error, socket.gaierror):
                raise _refusal(address, found, f"{NOBODY}: {error}") from error
            time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))


def _speaks_grpc(connection: socket.socket) -> bool:
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        return True  # for Ray to judge, which has the certificates
    connection.settimeout(ANSWER_WITHIN_S)
    answer = b""
    try:
        connection.sendall(GREETING)
        while len(answer) < 4 and (more := connection.recv(4 - len(answer))):
            answer += more
    except OSError:
        return False
    return answer[3:4] == bytes([SETTINGS_FRAME])


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
        f"address: {where} must be a running Ray, but {reason}; start the "
        "cluster, or unset RAY_ADDRESS and ray.address for a Ray on this machine"
    )
    return ConfigError("ray", [problem])
