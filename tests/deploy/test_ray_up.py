"""`ray up clusters/local.yaml`, a search through `ray job submit`, a host that is lost, `ray down`.

Two hosts in namespaces of this machine (`hosts.py`) stand for two machines. The cluster file is the
one that users get, with what they are told to change changed, and with the installation replaced by
a line that finds this environment: nothing can be downloaded there.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from .hosts import USER, Host, Network, hosts_on_this_machine, why_impossible
from .project import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.nightly(
        "clusters", "docs/cluster.md", "tests/deploy", "craft_ray/pool", "craft_ray/jobs"
    ),
    pytest.mark.timeout(900),
]

PORT = 8266
"""Of the dashboard on the laptop, whose own search has the usual one."""
DASHBOARD = f"http://127.0.0.1:{PORT}"
CURL_REFUSED = 22
MLFLOW = "mlflow.tracking_uri=http://127.0.0.1:5000"
SEARCH = [
    *("python", "-m", "craft_ray.tune", "tune_spaces/collaborative.yaml"),
    *("name=search", "trials=2", "max_concurrent_trials=1"),
    *(
        "max_queries=240",
        "evaluate_every_generations=2",
        "data.shots=4",
        "data.views=1",
        "scheduler={kind: none}",
    ),
    *("pool.replicas=2", "pool.threads_per_replica=1"),
]
# A cluster has more patience than a test: nodes are dead after about 9 s in place of 70, and end
# by themselves 10 s after they have missed the head in place of 60.
IMPATIENCE = (
    "export RAY_health_check_period_ms=1000 RAY_health_check_timeout_ms=2000"
    " RAY_health_check_failure_threshold=3"
    " RAY_gcs_rpc_server_reconnect_timeout_s=10"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's: the paths of sockets have at most 107 characters.
    path = Path(tempfile.mkdtemp(prefix="craft-ray-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def network(folder: Path) -> Iterator[Network]:
    if (reason := why_impossible()) is not None:
        pytest.skip(reason)
    devices = os.listdir("/sys/class/net")
    with hosts_on_this_machine(folder, ["head", "worker"]) as network:
        yield network
    # Ray's launcher keeps its SSH connections in a folder of its own.
    for sockets in Path("/tmp").glob(f"ray_ssh_*/{sha256(folder.name.encode()).hexdigest()[:10]}"):
        shutil.rmtree(sockets)
        with suppress(OSError):  # other clusters' may be beside it
            sockets.parent.rmdir()
    assert os.listdir("/sys/class/net") == devices
    wait_for("the end of all processes", lambda: not processes_that_name(folder))


def processes_that_name(folder: Path) -> list[list[str]]:
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [words for words in lines if str(folder) in " ".join(words)]


def write_cluster_file(network: Network, path: Path) -> None:
    config = yaml.safe_load((ROOT / "clusters" / "local.yaml").read_text())
    head, worker = network.hosts["head"], network.hosts["worker"]
    config["cluster_name"] = path.parent.name
    config["provider"].update(head_ip=head.ip, worker_ips=[worker.ip])
    config["auth"] = {"ssh_user": USER, "ssh_private_key": str(network.key)}
    (last,) = [line for line in config["setup_commands"] if "RAY_AUTH_MODE" in line]
    setup = last.replace("$HOME/craft-env/bin:$PATH", f"{head.environment['PATH']}:craft-env")
    more = f"{IMPATIENCE} PYTHONPATH=$HOME/craft-ray"
    config["setup_commands"] = [setup, f"echo '{more}' >> ~/.bashrc"]
    # This machine may have two cores, which the head counts; the lost replica needs a third.
    config["head_setup_commands"] = [
        """echo 'export RAY_OVERRIDE_RESOURCES='"'"'{"CPU": 3}'"'"'' >> ~/.bashrc"""
    ]
    path.write_text(yaml.safe_dump(config))


def wait_for(what: str, condition: Callable[[], Any], timeout_s: float = 240.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: did not happen in {timeout_s:g} s"
        time.sleep(0.5)
    return found


def wait_until_empty(host: Host) -> None:
    deadline = time.monotonic() + 60
    while host.processes() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert host.processes() == []


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
        asked = [[*command, f"{DASHBOARD}/api/version"] for command in (self._get, self._get[:2])]
        codes = [self._laptop.start(*c, output=subprocess.DEVNULL).wait() for c in asked]
        return codes == [0, CURL_REFUSED]

    def hosts_of(self, actor_class: str) -> set[str]:
        """Where its living actors are."""
        nodes = {row["node_id"]: row["node_ip"] for row in self.list("nodes")}
        return {
            nodes[row["node_id"]]
            for row in self.list("actors")
            if row["class_name"] == actor_class and row["state"] == "ALIVE"
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


def test_a_search_on_two_hosts_survives_the_loss_of_one(network: Network, folder: Path) -> None:
    laptop, head, worker = network.laptop, network.hosts["head"], network.hosts["worker"]
    laptop.run("ray", "get-auth-token", "--generate")
    cluster_file = folder / "cluster.yaml"
    write_cluster_file(network, cluster_file)
    undisturbed = ("ray.num_cpus=2", "mlflow.enabled=false", f"output_dir={folder}/undisturbed")
    alone = laptop.start(*SEARCH, *undisturbed, output=subprocess.DEVNULL)
    laptop.run("ray", "up", str(cluster_file), "--yes", "--disable-usage-stats")
    show = ("ray", "dashboard", str(cluster_file), "--port", str(PORT))
    forward = laptop.start(*show, output=subprocess.DEVNULL)
    dashboard = Dashboard(laptop)
    wait_for("the dashboard", dashboard.refuses_strangers)
    wait_for("the worker", lambda: len(dashboard.list("nodes")) == 2)
    laptop.run(
        *("env", "RAY_AUTH_MODE=token", "ray", "job", "submit", "--address", DASHBOARD),
        *("--no-wait", "--submission-id", "search", "--runtime-env", "clusters/job.yaml", "--"),
        *(*SEARCH, "pool.cpus_per_replica=1", MLFLOW, f"output_dir={folder}/disturbed"),
    )
    both = {head.ip, worker.ip}
    wait_for("replicas on both hosts", lambda: dashboard.hosts_of("OracleReplica") == both)
    wait_for("a state", lambda: list((folder / "disturbed").glob("**/states/*")))
    # All that a search cannot lose is where it was started.
    assert dashboard.hosts_of("Registry") == {head.ip}
    assert dashboard.hosts_of("RayTrainWorker") == {head.ip}
    network.cut_off("worker")
    wait_for("the loss", lambda: "DEAD" in [row["state"] for row in dashboard.list("nodes")])
    assert dashboard.get("jobs/search")["status"] == "RUNNING"
    wait_for("the end", lambda: dashboard.get("jobs/search")["status"] != "RUNNING")
    log = dashboard.get("jobs/search/logs")["logs"]
    assert dashboard.get("jobs/search")["status"] == "SUCCEEDED", log
    assert alone.wait() == 0
    assert outcome(folder / "disturbed") == outcome(folder / "undisturbed")
    with closing(sqlite3.connect(head.home / "mlflow" / "mlflow.db")) as database:
        rows = database.execute("SELECT status, COUNT(*) FROM runs GROUP BY status").fetchall()
    assert rows == [("FINISHED", 3)]  # the search and two trials

    network.reconnect("worker")
    for process in psutil.Process(forward.pid).children(recursive=True):
        process.terminate()
    forward.wait()
    laptop.run("ray", "exec", str(cluster_file), "kill $(cat ~/mlflow/server.pid)")
    laptop.run("ray", "down", str(cluster_file), "--yes")
    # Only now: the head's autoscaler may have started Ray there again. Its log monitor outlives
    # the raylet of a worker that has lost its head.
    trust = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    laptop.run("ssh", "-i", str(network.key), *trust, worker.ip, "bash -ic 'ray stop'")
    wait_until_empty(head)
    wait_until_empty(worker)
