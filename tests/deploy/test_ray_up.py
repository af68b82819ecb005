"""`ray up clusters/local.yaml`, a search through `ray job submit`, a host that is lost, `ray down`.

Two hosts in namespaces of this machine (`hosts.py`) stand for two machines. The cluster file is the
one that users get, with what they are told to change changed, and with the installation replaced by
a line that finds this environment: nothing can be downloaded there.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .hosts import USER, Host, Network, hosts_on_this_machine, why_impossible
from .project import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CLUSTER_NAME = "craft-ray-test"
DASHBOARD = "http://127.0.0.1:8265"
CURL_REFUSED = 22
SEARCH = [
    "python",
    "-m",
    "craft_ray.tune",
    "name=search",
    "trials=2",
    "max_concurrent_trials=1",
    "max_queries=400",
    "data.shots=4",
    "data.views=1",
    "pool.replicas=2",
    "pool.cpus_per_replica=1",
    "pool.threads_per_replica=1",
    "scheduler={kind: none}",
]


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's: the paths of sockets have at most 107 characters.
    path = Path(tempfile.mkdtemp(prefix="craft-ray-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def write_cluster_file(network: Network, path: Path) -> None:
    config = yaml.safe_load((ROOT / "clusters" / "local.yaml").read_text())
    head, worker = network.hosts["head"], network.hosts["worker"]
    config["cluster_name"] = CLUSTER_NAME
    config["provider"].update(head_ip=head.ip, worker_ips=[worker.ip])
    config["auth"] = {"ssh_user": USER, "ssh_private_key": str(network.key)}
    (last,) = [line for line in config["setup_commands"] if "RAY_AUTH_MODE" in line]
    setup = last.replace("$HOME/craft-env/bin:$PATH", f"{head.environment['PATH']}:craft-env")
    config["setup_commands"] = [setup, "echo export PYTHONPATH=$HOME/craft-ray >> ~/.bashrc"]
    path.write_text(yaml.safe_dump(config))


def wait_for(what: str, condition: Callable[[], Any], timeout_s: float = 240.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: did not happen in {timeout_s:g} s"
        time.sleep(0.5)
    return found


class Dashboard:
    """What Ray says of itself, seen from the laptop through the forwarded port."""

    def __init__(self, laptop: Host) -> None:
        self._laptop = laptop
        token = (laptop.home / ".ray" / "auth_token").read_text()
        self._get = ["curl", "-fsS", "-H", f"Authorization: Bearer {token}"]

    def get(self, path: str) -> Any:
        return json.loads(self._laptop.run(*self._get, f"{DASHBOARD}/api/{path}"))

    def list(self, what: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.get(f"v0/{what}")["data"]["result"]["result"]
        return rows

    def refuses_strangers(self) -> bool:
        """It answers, and only with the token."""
        asked = [command + [f"{DASHBOARD}/api/version"] for command in (self._get, self._get[:2])]
        codes = [self._laptop.start(*c, output=subprocess.DEVNULL).wait() for c in asked]
        return codes == [0, CURL_REFUSED]

    def hosts_of_replicas(self) -> set[str]:
        nodes = {row["node_id"]: row["node_ip"] for row in self.list("nodes")}
        return {
            nodes[row["node_id"]]
            for row in self.list("actors")
            if row["class_name"] == "OracleReplica" and row["state"] == "ALIVE"
        }


def outcome(output_dir: Path) -> dict[str, Any]:
    """What two equal searches have in common: all but names, times and who computed what."""
    summary = json.loads((output_dir / "search" / "summary.json").read_text())
    kept = ("number", "status", "params", "validation", "ledger", "test")
    trials = [*summary["trials"], summary["best"]]
    return {
        "zero_shot": summary["zero_shot"],
        "ledger": summary["ledger"],
        "trials": [{key: trial[key] for key in kept if key in trial} for trial in trials],
    }


def test_a_search_on_two_hosts_survives_the_loss_of_one(folder: Path) -> None:
    if (reason := why_impossible()) is not None:
        pytest.skip(reason)
    started = time.monotonic()

    def note(text: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {text}")

    with hosts_on_this_machine(folder, ["head", "worker"]) as network:
        laptop, head, worker = network.laptop, *network.hosts.values()
        note("hosts are there")
        laptop.run("ray", "get-auth-token", "--generate")
        cluster_file = str(folder / "cluster.yaml")
        write_cluster_file(network, Path(cluster_file))
        laptop.run("ray", "up", cluster_file, "--yes", "--disable-usage-stats")
        note("ray up")
        forward = laptop.start("ray", "dashboard", cluster_file, output=subprocess.DEVNULL)
        dashboard = Dashboard(laptop)
        wait_for("dashboard", dashboard.refuses_strangers)
        wait_for("worker", lambda: len(dashboard.list("nodes")) == 2)
        note("worker joined")
        laptop.run(
            *(
                "env",
                "RAY_AUTH_MODE=token",
                "ray",
                "job",
                "submit",
                "--address",
                DASHBOARD,
                "--no-wait",
            ),
            *("--submission-id", "search", "--runtime-env", "clusters/job.yaml", "--"),
            *SEARCH,
            f"output_dir={folder}/disturbed",
            "mlflow.tracking_uri=http://127.0.0.1:5000",
        )
        note("submitted")
        wait_for("two replicas", lambda: len(dashboard.hosts_of_replicas()) == 2)
        note("replicas on both")
        wait_for("trial", lambda: list((folder / "disturbed").glob("**/checkpoint_*")))
        network.cut_off("worker")
        note("cut")
        wait_for("end", lambda: dashboard.get("jobs/search")["status"] != "RUNNING")
        note("end")
        print(dashboard.get("jobs/search/logs")["logs"])
        print(dashboard.list("nodes"))
        print(dashboard.list("actors"))
        network.reconnect("worker")
        print(laptop.run("ray", "down", cluster_file, "--yes"))
        note("down")
        forward.kill()
        forward.wait()
        print(head.processes(), worker.processes())
        time.sleep(10)
        print(head.processes(), worker.processes())
