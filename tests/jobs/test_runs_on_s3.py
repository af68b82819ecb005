"""The commands with their output on a real S3 server: killed, and continued elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.artifact import Artifact
from craft_ray.classifiers.predictions import PREDICTIONS_FILE
from craft_ray.config.shipped import CRAFT_RUN, DEFAULT_SPACE
from craft_ray.files.remote import Place, RemotePath
from craft_ray.files.whole_files import read_json
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.jobs.run_report import REPORT_FILE
from craft_ray.metering.journal import open_journal
from tests.support.s3_server import CREDENTIALS, S3Server
from tests.support.small_data import small_data

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SMALL = (
    *(small_data(), "data.shots=2", "data.views=1", "pool.replicas=1"),
    *("ray.num_cpus=2", "ray.object_store_mb=200"),
)
TIMEOUT_S = 600


def start(folder: Path, module: str, *words: str) -> subprocess.Popen[str]:
    """In a process group of its own, and a folder that knows nothing of earlier runs."""
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", f"craft_ray.{module}", *SMALL, *words],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    assert process.returncode == 0, output
    return output


def kill(process: subprocess.Popen[str]) -> str:
    with suppress(ProcessLookupError):  # it has ended
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate(timeout=300)[0]


def kill_when(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"it is not what was waited for: {kill(process)}")
        time.sleep(0.3)
    kill(process)


def queries_on_record(folder: Place) -> int:
    with open_journal(folder) as journal:
        return journal.total().candidate_queries


def assert_no_secret(folder: RemotePath) -> None:
    for file in folder.files_below():
        assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode() not in file.read_bytes(), file


def test_a_killed_run_is_continued_elsewhere_as_if_nothing_had_been(
    tmp_path: Path, s3: S3Server
) -> None:
    words = [str(CRAFT_RUN), "max_queries=400", "evaluate_every_generations=5"]
    words += ["mlflow.enabled=false"]
    finish(start(tmp_path / "undisturbed", "train", *words, "name=run"))
    address = s3.address("train%20runs")
    folder = RemotePath(address) / "run"
    words += [f"output_dir={address}", "name=run"]
    killed = start(tmp_path / "first machine", "train", *words)
    # After the first checkpoint, and between two of them.
    kill_when(killed, lambda: queries_on_record(folder / "worker") >= 240)
    output = finish(start(tmp_path / "second machine", "train", *words, "--resume"))
    for machine in ("first machine", "second machine"):
        assert list((tmp_path / machine).iterdir()) == []
    whole: dict[str, Any] = read_json(tmp_path / "undisturbed" / "runs" / "run" / SUMMARY_FILE)
    summary = read_json(folder / SUMMARY_FILE)
    assert "What it cost" in (folder / REPORT_FILE).read_text()
    assert (folder / PREDICTIONS_FILE).is_file()
    for key in ("zero_shot", "tuned", "ledger", "data", "oracle_id"):
        assert summary[key] == whole[key], key
    assert queries_on_record(folder / "worker") == 400 == summary["ledger"]["candidate_queries"]
    assert str(folder / "best") in output
    on_disk = Artifact.load(tmp_path / "undisturbed" / "runs" / "run" / "best").classifier
    on_s3 = Artifact.load(folder / "best").classifier
    for name, array in on_disk.arrays().items():
        np.testing.assert_array_equal(on_s3.arrays()[name], array)
    assert_no_secret(folder)


def test_a_killed_search_is_continued_elsewhere(tmp_path: Path, s3: S3Server) -> None:
    space = str(DEFAULT_SPACE.with_name("collaborative.yaml"))
    words = [space, "max_queries=400", "evaluate_every_generations=2", "trials=2", "name=search"]
    words += ["scheduler={kind: none}", f"output_dir={s3.address('searches')}"]
    folder = RemotePath(s3.address("searches")) / "search"
    trials = folder / "trials"

    def has_begun() -> bool:
        return queries_on_record(trials / "1") >= 200

    kill_when(start(tmp_path / "first machine", "tune", *words), has_begun)
    output = finish(start(tmp_path / "second machine", "tune", *words, "--resume"))
    summary = read_json(folder / SUMMARY_FILE)
    assert [trial["status"] for trial in summary["trials"]] == ["finished"] * 2
    assert summary["ledger"]["candidate_queries"] == 2 * 400
    assert [queries_on_record(trials / number) for number in ("1", "2")] == [400, 400]
    assert f"craft-ray ui --output-dir '{tmp_path / 'second machine' / 'runs'}'" in output
    assert_no_secret(folder)


def test_a_store_that_does_not_answer_is_the_users_error(tmp_path: Path, s3: S3Server) -> None:
    address = s3.address("x", bucket="no-such-bucket")
    process = start(tmp_path / "machine", "train", f"output_dir={address}")
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2
    assert output.startswith(f"error: output_dir: {address}: When uploading")
    assert "NO_SUCH_BUCKET" in output
    assert output.count("\n") == 1
    assert list((tmp_path / "machine").iterdir()) == []
