"""Real servers that are killed and come back, drivers that are killed: everything arrives once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST
from mlflow.tracking import MlflowClient

from craft_ray.commands import tracking as command
from craft_ray.tracking import MlflowTracker, Tracker
from craft_ray.tracking.base import RefusedError
from craft_ray.tracking.sender import MlflowSender
from craft_ray.tracking.spool import SPOOL_FOLDER, Entry, Spool
from tests.support.mlflow_server import mlflow_server, runs_of

pytestmark = pytest.mark.slow

KILLED_DRIVER = """
import os, signal, sys
from pathlib import Path
from craft_ray.tracking import MlflowTracker
tracker = MlflowTracker(sys.argv[1], "craft-ray", Path(sys.argv[2]))
print("open", flush=True)
sys.stdin.readline()
tracker.open("r/search", "a search", {"seed": 1})
tracker.log("r/search", [{"step": g, "fitness_best": float(g)} for g in range(1, 4)])
tracker.close("r/search", "FINISHED")
os.kill(os.getpid(), signal.SIGKILL)
"""


def steps(uri: str, run: Run) -> list[int]:
    history = MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, "fitness_best")
    return [metric.step for metric in history]


def report(tracker: Tracker, key: str, generations: range) -> None:
    for generation in generations:
        tracker.log(key, [{"step": generation, "fitness_best": float(generation)}])


def test_what_a_server_missed_arrives_in_the_middle_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("craft_ray.tracking.mlflow_tracker.FIRST_PAUSE_S", 0.2)
    said: list[str] = []
    runs_dir, artefact = tmp_path / "runs", tmp_path / "best"
    artefact.mkdir()
    (artefact / "head.json").write_text("as it was")
    with mlflow_server(tmp_path) as server:
        tracker = MlflowTracker(server.uri, "craft-ray", runs_dir, said.append)
        tracker.open("r/search", "a search", {"seed": 1})
        report(tracker, "r/search", range(1, 4))
        server.kill()
        report(tracker, "r/search", range(4, 7))
        before_ms = time.time() * 1000
        tracker.open("r/1", "trial 1", {"sigma": 0.5}, parent="r/search")
        report(tracker, "r/1", range(1, 4))
        tracker.log_folder("r/1", artefact)
        tracker.close("r/1", "FAILED")
        after_ms = time.time() * 1000
        (artefact / "head.json").write_text("changed later")
        time.sleep(1.5)
        server.start()
        report(tracker, "r/search", range(7, 10))
        tracker.close("r/search", "FINISHED")
        tracker.shutdown()

        runs = {run.info.run_name: run for run in runs_of(server.uri)}
        assert set(runs) == {"a search", "trial 1"}
        search, trial = runs["a search"], runs["trial 1"]
        assert steps(server.uri, search) == list(range(1, 10))
        assert steps(server.uri, trial) == [1, 2, 3]
        assert trial.data.tags["mlflow.parentRunId"] == search.info.run_id
        assert trial.data.params == {"sigma": "0.5"}
        assert (search.info.status, trial.info.status) == ("FINISHED", "FAILED")
        assert int(before_ms) <= trial.info.start_time <= trial.info.end_time <= after_ms
        client = MlflowClient(tracking_uri=server.uri)
        kept = client.download_artifacts(trial.info.run_id, "best/head.json", str(tmp_path))
        assert Path(kept).read_text() == "as it was"
    assert said == ["MLflow is back; it gets what it has missed."]
    assert not (runs_dir / SPOOL_FOLDER).exists()


@pytest.mark.parametrize("by", ["next start", "command"])
def test_a_killed_driver_and_a_dead_server_lose_nothing(by: str, tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    with mlflow_server(tmp_path) as server:
        words = [sys.executable, "-c", KILLED_DRIVER, server.uri, str(runs_dir)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
            assert driver.stdin is not None
            assert driver.stdout is not None
            assert driver.stdout.readline() == b"open\n"
            server.kill()
            driver.communicate(b"go\n", timeout=300)
        assert driver.returncode == -signal.SIGKILL
        if by == "command":
            assert command.main([str(runs_dir)]) == 1
        server.start()
        assert runs_of(server.uri) == []
        if by == "command":
            assert command.main([str(runs_dir)]) == 0
        else:
            MlflowTracker(server.uri, "craft-ray", runs_dir).shutdown()
        (run,) = runs_of(server.uri)
        assert run.info.status == "FINISHED"
        assert run.data.params == {"seed": "1"}
        assert steps(server.uri, run) == [1, 2, 3]
    assert not (runs_dir / SPOOL_FOLDER).exists()


def test_what_a_real_server_makes_of_a_repeated_batch(tmp_path: Path) -> None:
    # The sender relies on it: a batch whose acknowledgement was lost is sent again.
    with mlflow_server(tmp_path) as server:
        client = MlflowClient(tracking_uri=server.uri)
        run_id = client.create_run(client.create_experiment("x")).info.run_id
        metrics = [Metric("f", 1.0, 5, 1), Metric("f", 2.0, 5, 2), Metric("n", float("nan"), 5, 1)]
        for _ in range(3):
            client.log_batch(run_id, metrics=metrics, params=[Param("p", "1")])
        client.log_batch(run_id, metrics=[Metric("f", 2.0, 5, 2), Metric("f", 3.0, 6, 3)])
        assert [m.value for m in client.get_metric_history(run_id, "f")] == [1.0, 2.0, 3.0]
        assert len(client.get_metric_history(run_id, "n")) == 1


class ForgetfulClient:
    """Does what it is told, and says the first time that the connection was lost."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self.lost: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            if name in CHANGING and self.lost.count(name) < CHANGING[name]:
                self.lost.append(name)
                raise ConnectionError(f"{name}: its acknowledgement was lost")
            return answer

        return call


CHANGING = {"create_run": 1, "log_batch": 3, "log_artifacts": 1, "set_terminated": 1}


def test_what_arrived_without_an_acknowledgement_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("craft_ray.tracking.mlflow_tracker.FIRST_PAUSE_S", 0.01)
    uri, artefact = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "best"
    artefact.mkdir()
    (artefact / "head.json").write_text("{}")
    sender = MlflowSender(uri, tmp_path)
    client = ForgetfulClient(MlflowClient(tracking_uri=uri))
    monkeypatch.setattr(sender, "_client", client)
    tracker = MlflowTracker(uri, "craft-ray", tmp_path, sender=sender)
    tracker.open("s", "a search", {f"p{index}": index for index in range(120)})
    report(tracker, "s", range(1, 4))
    tracker.log_folder("s", artefact)
    tracker.close("s", "FINISHED")
    deadline = time.monotonic() + 60
    while len(client.lost) < sum(CHANGING.values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    tracker.shutdown()
    (run,) = runs_of(uri)
    assert len(run.data.params) == 120
    assert steps(uri, run) == [1, 2, 3]
    assert run.info.status == "FINISHED"
    files = MlflowClient(tracking_uri=uri).list_artifacts(run.info.run_id, "best")
    assert [file.path for file in files] == ["best/head.json"]
    assert not (tmp_path / SPOOL_FOLDER).exists()


def refusal(document: dict[str, str]) -> RestException:
    return RestException(document)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("error", "is_final"),
    [
        (refusal({"error_code": "INVALID_PARAMETER_VALUE", "message": "x"}), True),
        (refusal({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "x"}), True),
        (MlflowException("a metric must be a number", error_code=INVALID_PARAMETER_VALUE), True),
        (refusal({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "x"}), False),
        (refusal({"error_code": "PERMISSION_DENIED", "message": "x"}), False),
        (refusal({"error_code": "INTERNAL_ERROR", "message": "x"}), False),
        # A proxy whose server is away.
        (
            MlflowException(
                "API request to endpoint /x failed with error code 404 != 200",
                error_code=RESOURCE_DOES_NOT_EXIST,
            ),
            False,
        ),
        (ConnectionError("x"), False),
    ],
)
def test_only_what_would_be_refused_tomorrow_is_given_up(
    error: Exception, is_final: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    sender = MlflowSender("http://127.0.0.1:9", tmp_path)
    monkeypatch.setattr(sender, "_open", fail)
    spool = Spool.create(tmp_path, sender.address, "craft-ray")
    with pytest.raises(RefusedError if is_final else type(error)):
        sender.send(Entry((1,), "open", {}), spool)
    spool.close()
