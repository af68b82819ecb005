"""MLflow's pages, from one command."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
from mlflow.tracking import MlflowClient

from craft_ray.commands.program import main


def test_without_a_recorded_run_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ui", "--output-dir", str(tmp_path)]) == 2
    assert "must have runs that MLflow has recorded" in capsys.readouterr().err


@pytest.mark.slow
def test_it_names_the_page_of_a_run_and_ends_with_its_server(tmp_path: Path) -> None:
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.create_experiment("craft-ray")
    run = client.create_run(experiment, run_name="one-run")
    command = [sys.executable, "-m", "craft_ray", "ui", "one-run", "--output-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        page = process.stdout.readline().strip()
        started = psutil.Process(process.pid).children(recursive=True)
        try:
            found = re.fullmatch(
                r"(http://127\.0\.0\.1:\d+/)#/experiments/(\d+)/runs/(\w+)\?.*", page
            )
            assert found is not None, page
            assert found.groups()[1:] == (experiment, run.info.run_id)
            with urllib.request.urlopen(found[1], timeout=30) as reply:
                assert b"MLflow" in reply.read()
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    _, alive = psutil.wait_procs(started, timeout=30)
    assert not alive
