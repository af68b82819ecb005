"""MLflow's pages, from one command."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
from mlflow.tracking import MlflowClient

from craft_ray.commands import ui
from craft_ray.commands.program import main
from craft_ray.config.sections import MlflowConfig
from craft_ray.tracking import make_tracker
from tests.support.mlflow_server import runs_of


def test_without_a_recorded_run_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ui", "--output-dir", str(tmp_path)]) == 2
    assert "must have runs that MLflow has recorded" in capsys.readouterr().err


def test_a_run_may_be_a_name_a_folder_or_the_latest(tmp_path: Path) -> None:
    for age, name in ((5, "old"), (1, "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.json").write_text("{}")
        os.utime(tmp_path / name / "settings.json", (1.7e9 - age, 1.7e9 - age))
    for run, name in (("old", "old"), (f"{tmp_path}/old/", "old"), ("latest", "new")):
        assert ui._name_of(run, str(tmp_path)) == name


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (['a"b'], "RUN: must be the name of a run"),
        (["latest", "--output-dir", "empty"], "RUN: must be the name of a run, but empty has none"),
        (["--port", "99999"], "must be between 1 and 65535"),
    ],
)
def test_a_mistake_starts_no_server(
    words: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("runs", "empty"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mlflow.db").touch()
    monkeypatch.setattr(subprocess, "Popen", None)
    try:
        code = main(["ui", *words])
    except SystemExit as error:
        code = int(str(error.code))
    assert code == 2
    assert problem in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mlflow.db").touch()
    monkeypatch.setattr(subprocess, "Popen", None)
    with socket.socket() as taken:
        taken.bind((ui.HOST, 0))
        port = taken.getsockname()[1]
        with pytest.raises(TypeError):  # no server is started
            main(["ui", "--port", str(port), "--output-dir", str(tmp_path)])
    assert f"Port {port} is taken: another one is used." in capsys.readouterr().err


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


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_sees_accuracies_in_the_list_and_what_a_run_was(tmp_path: Path) -> None:
    tracker = make_tracker(MlflowConfig(), tmp_path)
    tracker.open("s", "one-search", {"objectives": "accuracy"}, tags={"method": "probes"})
    tracker.open("s/1", "trial 1: probes", {"data.shots": 16}, parent="s", tags={"best": "true"})
    tracker.log("s", [{"step": 5, "accuracy/test": 0.803, "queries": 5}])
    tracker.log("s/1", [{"step": 5, "accuracy/val": 0.7125}])
    tracker.tag("s", {"mlflow.note.content": "**Best:** [that trial]({run:s/1})"})
    tracker.close("s", "FINISHED")
    tracker.shutdown()
    runs = {run.info.run_name: run for run in runs_of(f"sqlite:///{tmp_path / 'mlflow.db'}")}
    command = [sys.executable, "-m", "craft_ray", "ui", "--output-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        page = process.stdout.readline().strip()
        try:
            listed = _seen(page, tmp_path)
            assert [w for w in ("one-search", "accuracy/test", "0.803") if w not in listed] == []
            place, _, query = page.partition("/runs?")
            parent = _seen(f"{place}/runs/{runs['one-search'].info.run_id}?{query}", tmp_path)
            trial = runs["trial 1: probes"].info.run_id
            words = ("that trial", f"/runs/{trial}", "trial 1: probes", "accuracy/test")
            assert [word for word in words if word not in parent] == []
            child = _seen(f"{place}/runs/{trial}?{query}", tmp_path)
            words = ("one-search", "data.shots", "accuracy/val", "0.7125")
            assert [word for word in words if word not in child] == []
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


def _seen(page: str, folder: Path) -> str:
    """What is on a page when its scripts have run."""
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}"]
    words += ["--window-size=2000,1500", "--virtual-time-budget=40000", "--dump-dom", page]
    assert CHROMIUM is not None
    return subprocess.run(
        [CHROMIUM, *words], capture_output=True, text=True, timeout=180, check=True
    ).stdout


def test_the_home_folder_is_meant_by_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ui.main(["--output-dir=~/none"]) == 2
    assert f"{tmp_path}/none must have runs" in capsys.readouterr().err
