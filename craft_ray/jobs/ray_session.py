"""Connecting to Ray: a running cluster if one is named, else a bounded Ray on this machine."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import AuthenticationError

from craft_ray.config.sections import RayConfig
from craft_ray.environment import ENVIRONMENT, set_environment
from craft_ray.errors import FULL_DISK, ConfigError, RunFailedError
from craft_ray.interrupts import treat_sigterm_as_ctrl_c
from craft_ray.jobs.cluster_address import check_reachable
from craft_ray.jobs.own_ray import available_cpus, little_shared_memory, place_for_sockets
from craft_ray.pool.lifecycle import NAMESPACE

logger = logging.getLogger(__name__)

TOO_SLOW = "timed out during startup"
"""In the words of Ray's bare exception about a node that is not up after 30 s."""
SECONDS_TO_DIE = 10  # of Ray's workers whose raylet is gone; they take about one


@contextmanager
def ray_session(config: RayConfig) -> Iterator[None]:
    """Connect, and leave nothing running that was started here.

    Raises:
        ConfigError: the named cluster does not answer, or wants a token that we do not have; or a
            Ray of our own cannot start here.
    """
    set_environment()
    with ExitStack() as stack:
        _connect(config, stack)
        treat_sigterm_as_ctrl_c()
        yield


def _connect(config: RayConfig, stack: ExitStack) -> None:
    """Connect; `stack` ends what was started."""
    elsewhere = _raylets()
    address = config.address or os.environ.get("RAY_ADDRESS")
    common: dict[str, Any] = {
        "namespace": NAMESPACE,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    if address:
        check_reachable(address)
        environment = {"env_vars": {key: os.environ[key] for key in ENVIRONMENT}}
        try:
            ray.init(address=address, runtime_env=environment, **common)
        except (ConnectionError, ValueError, RuntimeError, AuthenticationError) as error:
            # A refused token looks like a dead address here.
            problem = (
                f"address: {address!r} must be a running Ray: {error}; one that asks for a token "
                "needs RAY_AUTH_MODE=token and its token (docs/cluster.md)"
            )
            raise ConfigError("ray", [problem]) from error
        stack.callback(_leave, elsewhere)
        return
    keep_token_private(Path.home() / ".ray" / "auth_token")
    if (warning := little_shared_memory(config.object_store_mb)) is not None:
        logger.warning("%s", warning)
    folder = stack.enter_context(place_for_sockets(os.environ))
    stack.callback(_leave, elsewhere)
    try:
        ray.init(
            address="local",
            num_cpus=config.num_cpus or available_cpus(),
            object_store_memory=config.object_store_mb * 2**20,
            # Eight processes that nobody looks at, unless asked for.
            include_dashboard=config.dashboard,
            dashboard_host="127.0.0.1",
            _temp_dir=folder,
            # No runtime environment: workers inherit ours, and one of its own would keep every
            # actor from the workers that Ray has started already.
            **common,
        )
    except (OSError, ValueError, RuntimeError, AuthenticationError) as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            raise
        problem = (
            f"a Ray of our own must start on this machine, but: {error}; `craft-ray env` says what "
            "is short here, docs/troubleshooting.md what helps"
        )
        raise ConfigError("ray", [problem]) from error
    except Exception as error:
        if TOO_SLOW not in str(error):
            raise
        raise RunFailedError(
            "a Ray of our own did not start in time: this machine is too busy or has too little "
            "memory now; `craft-ray env` says what it has"
        ) from error


def _leave(elsewhere: list[psutil.Process]) -> None:
    """Disconnect, and end the processes that were started here, other than `elsewhere`."""
    ours = [raylet for raylet in _raylets() if raylet not in elsewhere]
    workers = [worker for raylet in ours for worker in raylet.children(recursive=True)]
    ray.shutdown()
    _end(workers)


def _raylets() -> list[psutil.Process]:
    """Nodes of Ray that this process has started."""
    return [child for child in psutil.Process().children() if child.name() == "raylet"]


def _end(workers: list[psutil.Process]) -> None:
    """A worker that hangs while it exits is no longer known to Ray, and would stay for ever
    (https://github.com/ray-project/ray/issues/52322)."""
    deadline = time.monotonic() + SECONDS_TO_DIE
    while workers and time.monotonic() < deadline:
        time.sleep(0.05)
        workers = [worker for worker in workers if _lives(worker)]
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()


def _lives(process: psutil.Process) -> bool:
    try:  # a dead one stays a zombie in a container whose first process looks after none
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def keep_token_private(path: Path) -> None:
    """Ray's own ports listen on every interface of the machine, whatever the dashboard does; what
    protects a local Ray is the token that it asks for. Ray makes the file, readable by all."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return  # the user's, and the user's to protect
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            mine = path.with_name(f"{path.name}.{os.getpid()}")
            mine.touch(mode=0o600)
            mine.write_text(secrets.token_hex(32))
            # Whole or not at all, and not over the one that another start has just made.
            with suppress(FileExistsError):
                os.link(mine, path)
            mine.unlink()
        path.chmod(0o600)
    except OSError:
        # No home folder that can be written, as on some nodes of batch systems: a token of this
        # process, which those that it starts inherit. One that is there and can be read is Ray's.
        if not os.access(path, os.R_OK):
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
