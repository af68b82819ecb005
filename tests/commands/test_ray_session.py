"""A Ray of our own asks for a token, and keeps it from other users of the machine."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from craft_ray.config.sections import RayConfig
from craft_ray.errors import RunFailedError
from craft_ray.jobs.ray_session import keep_token_private, ray_session

SESSION = """
import subprocess, sys, ray
from craft_ray.config.sections import RayConfig
from craft_ray.jobs.ray_session import ray_session
with ray_session(RayConfig(num_cpus=1, object_store_mb=80)):
    address = ray.get_runtime_context().gcs_address
    print("address", address, flush=True)
    sys.stdin.readline()
"""
CLIENT = """
import sys, ray
from craft_ray.commands.common import exit_with
from craft_ray.config.sections import RayConfig
from craft_ray.jobs.ray_session import ray_session
def connect():
    with ray_session(RayConfig(address=sys.argv[1])):
        print("connected", ray.cluster_resources()["CPU"])
sys.exit(exit_with(connect))
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def _no_ray_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def test_a_machine_that_is_too_busy_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_slow(**_: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.init", too_slow)
    with pytest.raises(RunFailedError, match="too busy"), ray_session(RayConfig(num_cpus=1)):
        pass


@pytest.mark.usefixtures("_no_ray_settings")
def test_the_token_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / ".ray" / "auth_token"
    keep_token_private(path)
    token = path.read_text()
    assert len(token) == 64
    path.chmod(0o644)  # as Ray makes it
    keep_token_private(path)
    assert path.read_text() == token
    assert mode_of(path) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("name", "value"),
    [("RAY_AUTH_MODE", "disabled"), ("RAY_AUTH_TOKEN", "x"), ("RAY_AUTH_TOKEN_PATH", "/x")],
)
@pytest.mark.usefixtures("_no_ray_settings")
def test_what_the_user_decides_stays(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    keep_token_private(tmp_path / "auth_token")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_no_ray_settings")
def test_a_home_that_cannot_be_written_gets_a_token_of_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")  # put back at the end
    keep_token_private(Path("/proc/none/.ray/auth_token"))
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


@pytest.mark.slow
@pytest.mark.usefixtures("_no_ray_settings")
def test_a_local_ray_answers_nobody_without_its_token(tmp_path: Path) -> None:
    home = os.environ | {"HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", SESSION],
        env=home,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as session:
        assert session.stdout is not None
        address = next(line.split()[1] for line in session.stdout if line.startswith("address"))
        assert mode_of(tmp_path / ".ray" / "auth_token") == 0o600
        outcomes = {}
        for label, variables in (
            ("same token", home | {"RAY_AUTH_MODE": "token"}),
            ("wrong token", home | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}),
            ("no token", home | {"RAY_AUTH_MODE": "disabled"}),
        ):
            outcomes[label] = subprocess.run(
                [sys.executable, "-c", CLIENT, address],
                env=variables,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        session.communicate("done\n", timeout=300)
    assert outcomes["same token"].stdout.startswith("connected"), outcomes["same token"].stderr
    for label in ("wrong token", "no token"):
        assert outcomes[label].returncode == 2, outcomes[label].stderr
        assert f"ray: address: '{address}' must be a running Ray" in outcomes[label].stderr
        assert "RAY_AUTH_MODE=token" in outcomes[label].stderr
        assert "f" * 64 not in outcomes[label].stdout + outcomes[label].stderr


STUCK = """
import os, threading, time, ray
from craft_ray.config.sections import RayConfig
from craft_ray.jobs.ray_session import ray_session
@ray.remote(num_cpus=0)
class Stuck:
    def pid(self):
        threading.Thread(target=time.sleep, args=(600,)).start()  # Python waits for it at the end
        return os.getpid()
with ray_session(RayConfig(num_cpus=1, object_store_mb=80)):
    actor = Stuck.remote()
    print(ray.get(actor.pid.remote()))
    del actor  # Ray lets it go
    time.sleep(5)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("_no_ray_settings")
def test_a_worker_that_does_not_exit_is_ended_with_its_session(tmp_path: Path) -> None:
    session = subprocess.run(
        [sys.executable, "-c", STUCK],
        env=os.environ | {"HOME": str(tmp_path)},
        text=True,
        stdout=subprocess.PIPE,
        timeout=300,
        check=True,
    )
    with suppress(psutil.NoSuchProcess):
        assert psutil.Process(int(session.stdout)).status() == psutil.STATUS_ZOMBIE
