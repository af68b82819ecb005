"""The commands as a user runs them: real processes, real Ray, real MLflow, real images."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from mlflow.tracking import MlflowClient

from craft_ray.classifiers.artifact import Artifact
from craft_ray.commands import train, tune
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import CRAFT_RUN, SPACES
from craft_ray.metering.journal_sqlite import QueryJournal
from craft_ray.task.preparation import load_data
from tests.support.html_page import Page
from tests.support.shared_ray import call
from tests.support.small_data import small_data

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SHORT = ["data.shots=2", "data.views=1", "max_queries=80", "evaluate_every_generations=1"]
SMALL = [*SHORT, small_data(), "pool.replicas=1"]
COLLABORATIVE = str(SPACES / "collaborative.yaml")
TWO_TRIALS = ["trials=2", "scheduler={kind: none}", "seed=3"]
SEARCH = [COLLABORATIVE, *SHORT, *TWO_TRIALS]


def command(module: str, *words: str) -> list[str]:
    return [sys.executable, "-m", f"craft_ray.{module}".rstrip("."), *words]


def run(folder: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; nothing of it may be left."""
    process = start(folder, module, *words)
    try:
        output, errors = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert_nothing_is_left(process)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def summary_of(folder: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "runs" / name / "summary.json").read_text())
    return document


def start(folder: Path, module: str, *words: str) -> subprocess.Popen[str]:
    """Start a command in a session of its own, as a terminal does."""
    return subprocess.Popen(
        command(module, *words),
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(process: subprocess.Popen[str], ready: Path, pattern: str) -> None:
    """Until a file that matches exists."""
    deadline = time.monotonic() + 300
    while not list(ready.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)


def wait_for_queries(process: subprocess.Popen[str], path: Path, at_least: int) -> None:
    """Until so many candidate queries of a run are on record."""
    deadline = time.monotonic() + 300
    with QueryJournal(path) as journal:
        while journal.total().candidate_queries < at_least:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)


def session_of(process: subprocess.Popen[str]) -> list[str]:
    """The command lines of all that it has started and that runs, whoever its parent is by now."""
    lines = []
    for entry in psutil.process_iter(["cmdline", "status"]):
        with suppress(ProcessLookupError):
            if os.getsid(entry.pid) == process.pid and entry.info["status"] != psutil.STATUS_ZOMBIE:
                lines.append(" ".join(entry.info["cmdline"] or []))
    return lines


def assert_nothing_is_left(process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60  # on a busy machine, the last of Ray takes its time to die
    while left := session_of(process):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


@pytest.fixture(scope="module")
def searched(shared_ray: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished small search and what it printed."""
    folder = tmp_path_factory.mktemp("search")
    result = call(shared_ray, folder, "tune", *SEARCH, "name=small")
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result.stdout


def test_a_search_ends_with_a_table_and_the_ui_command(searched: tuple[Path, str]) -> None:
    folder, output = searched
    assert "zero-shot" in output
    assert "test accuracy" in output
    assert f"craft-ray ui --output-dir {folder / 'runs'}" in output
    assert "Traceback" not in output


def test_a_search_leaves_a_page_and_says_where(searched: tuple[Path, str]) -> None:
    folder, output = searched
    report = folder / "runs" / "small" / "report.html"
    assert f"Look at it: {report}" in output
    assert "The surest mistakes" in Page(report.read_text()).titles


def test_the_ledger_of_a_search_is_what_the_dry_run_said(
    searched: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = searched
    ledger = summary_of(folder, "small")["ledger"]
    assert tune.main([*SEARCH, "--dry-run"]) == 0
    dry = capsys.readouterr().out
    assert f"{ledger['candidate_queries']:,}" in dry
    assert "nothing was started" in dry
    assert ledger["candidate_queries"] == 2 * 80
    assert ledger["search_predictions"] == 2 * 80 * 20


def test_the_summary_tells_everything(searched: tuple[Path, str]) -> None:
    folder, _ = searched
    summary = summary_of(folder, "small")
    assert {trial["status"] for trial in summary["trials"]} == {"finished"}
    accuracies = [trial["validation"]["accuracy"] for trial in summary["trials"]]
    assert summary["best"]["validation"]["accuracy"] == max(accuracies)
    assert 0.2 < summary["zero_shot"]["test"]["accuracy"] < 0.6
    assert summary["versions"]["ray"]
    assert len(summary["data"]["few_shot_manifest"]) == 64
    replicas = summary["pool"].values()
    assert sum(replica["candidates"] for replica in replicas) >= 2 * 80
    assert all(0 < replica["utilisation"] <= 1 for replica in replicas)


def test_images_are_sent_once_for_all_trials(searched: tuple[Path, str]) -> None:
    folder, _ = searched
    summary = summary_of(folder, "small")
    # Fitness images, one view, validation and test: whatever the number of trials.
    assert summary["ledger"]["images_sent"] == 20 + 20 + 200 + 1000
    encoded = sum(replica["images_encoded"] for replica in summary["pool"].values())
    assert encoded <= len(summary["pool"]) * (20 + 20 + 200 + 1000)


def test_the_stored_classifier_gives_the_reported_test_accuracy(
    searched: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = searched
    dataset = load_data(RunConfig()).dataset
    for number, item in enumerate(dataset.splits["test"]):
        path = tmp_path / "labelled" / dataset.class_names[item.label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item.read())
    # Elsewhere, and from its folder alone.
    words = [str(folder / "runs" / "small" / "best"), "labelled"]
    evaluated = run(tmp_path, "", "evaluate", *words, "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    evaluation = json.loads(evaluated.stdout)
    reported = summary_of(folder, "small")["best"]["test"]["accuracy"]
    # Another process may use another number of threads: one image in a thousand may tip over.
    assert evaluation["score"]["accuracy"] == pytest.approx(reported, abs=0.0021)
    low, high = evaluation["interval"]
    assert low < reported < high
    about = Artifact.load(folder / "runs" / "small" / "best").about
    assert about is not None
    assert about.test is not None
    assert about.test.accuracy == reported
    ledger = summary_of(folder, "small")["ledger"]
    assert about.candidate_queries == ledger["candidate_queries"]
    predicted = run(tmp_path, "", "predict", *words, "--out", "labels.csv")
    assert predicted.returncode == 0, predicted.stderr
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = [Path(row["path"]).parent.name == row["label"] for row in rows]
    assert sum(right) / len(right) == pytest.approx(evaluation["score"]["accuracy"])


def test_mlflow_has_a_parent_run_with_a_child_for_each_trial(searched: tuple[Path, str]) -> None:
    folder, _ = searched
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("craft-ray")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {entry.info.status for entry in runs} == {"FINISHED"}
    (parent,) = [entry for entry in runs if "mlflow.parentRunId" not in entry.data.tags]
    children = [entry for entry in runs if entry is not parent]
    assert len(children) == 2
    for child in children:
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert "head.learning_rate" in child.data.params
        assert child.data.metrics["system/pool_queries_per_s"] > 0
        assert child.data.params["data.shots"], "the base's settings too"
        history = client.get_metric_history(child.info.run_id, "loss/fitness_best")
        population = int(child.data.params["optimizer.population"])
        assert [point.step for point in history] == list(range(population, 81, population))
        assert child.inputs is not None
        contexts = {each.tags[0].value for each in child.inputs.dataset_inputs}
        assert contexts >= {"training", "validation"}
    assert 0 < parent.data.metrics["system/pool_utilisation"] <= 1
    # What is compared has one name everywhere, and only what was tested has a test accuracy.
    (best,) = [child for child in children if child.data.tags["best"] == "true"]
    summary = summary_of(folder, "small")
    for entry in (parent, best):
        assert entry.data.metrics["accuracy/test"] == summary["best"]["test"]["accuracy"]
    assert sum("accuracy/test" in entry.data.metrics for entry in runs) == 2
    for entry in runs:
        assert {"accuracy/val", "accuracy/zero_shot", "queries", "predictions", "seconds"} <= set(
            entry.data.metrics
        )
    assert parent.data.metrics["queries"] == summary["ledger"]["candidate_queries"]
    assert {"sampler.kind", "scheduler.kind", "objectives", "space.head.learning_rate"} <= set(
        parent.data.params
    )
    note = parent.data.tags["mlflow.note.content"]
    assert f"/runs/{best.info.run_id}?" in note
    assert parent.data.tags["best_trial"] == str(summary["best"]["number"])
    places = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"best", "settings.yaml", "summary.json"} <= places
    files = client.list_artifacts(parent.info.run_id, "best")
    assert "best/classifier.json" in {file.path for file in files}


def test_a_search_stopped_by_ctrl_c_continues_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [COLLABORATIVE, *SMALL, *TWO_TRIALS, "name=stopped"]
    words += ["max_queries=1600", "evaluate_every_generations=4"]
    process = start(tmp_path, "tune", *words)
    wait_for(process, tmp_path / "runs" / "stopped" / "trials", "*/states/*")
    running = session_of(process)
    assert all(any(part in line for line in running) for part in ("gcs_server", "raylet"))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the whole group
    _, errors = process.communicate(timeout=300)
    assert_nothing_is_left(process)
    assert process.returncode == 130, errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "runs" / "stopped" / "summary.json").exists()

    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        assert tune.main([*words, "seed=4", "--resume"]) == 2
    assert "base.seed: must be 3" in capsys.readouterr().err

    resumed = run(tmp_path, "tune", *words, "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    summary = summary_of(tmp_path, "stopped")
    assert {trial["status"] for trial in summary["trials"]} == {"finished"}
    assert summary["ledger"]["candidate_queries"] == 2 * 1600


def test_a_search_pays_for_what_it_says_and_never_more_than_its_budget(
    shared_ray: str, tmp_path: Path
) -> None:
    words = [COLLABORATIVE, *SMALL, "name=capped", "mlflow.enabled=false", "trials=9"]
    words += [
        "max_queries=240",
        "max_total_queries=600",
        "scheduler={kind: asha, grace_queries: 80}",
    ]
    result = call(shared_ray, tmp_path, "tune", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    summary = summary_of(tmp_path, "capped")
    trials = summary["trials"]
    assert 2 <= len(trials) < 9
    for trial in trials:
        with QueryJournal(tmp_path / f"runs/capped/trials/{trial['number']}/queries.db") as journal:
            assert trial["ledger"] == journal.total().as_dict()
    spent = sum(trial["ledger"]["candidate_queries"] for trial in trials)
    assert spent == summary["ledger"]["candidate_queries"] <= 600
    assert spent > 600 - 240  # or one more trial could have been paid for


def test_a_killed_run_gives_the_result_of_an_undisturbed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(CRAFT_RUN), *SMALL, "max_queries=1200", "evaluate_every_generations=5"]
    words += ["mlflow.enabled=false"]
    words.append("price_per_thousand_predictions=0.5")
    undisturbed = start(tmp_path, "train", *words, "name=whole")  # both wait a lot: at a time
    process = start(tmp_path, "train", *words, "name=killed")
    worker = tmp_path / "runs" / "killed" / "worker"
    wait_for(process, worker, "states/*")
    wait_for_queries(process, worker / "queries.db", at_least=300)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=300)
    output, errors = undisturbed.communicate(timeout=600)
    assert undisturbed.returncode == 0, output + errors
    resumed = run(tmp_path, "train", *words, "name=killed", "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    whole, killed = summary_of(tmp_path, "whole"), summary_of(tmp_path, "killed")
    for key in ("zero_shot", "tuned", "ledger", "cost", "data", "oracle_id"):
        assert killed[key] == whole[key], key
    # What is on record has been asked once, by whichever process.
    with QueryJournal(worker / "queries.db") as journal:
        assert journal.total().candidate_queries == 1200
    assert whole["cost"] == pytest.approx(whole["ledger"]["image_predictions"] * 0.0005)
    assert f"They cost {whole['cost']:,.2f}." in output
    assert train.main([*words, "--dry-run"]) == 0
    assert re.search(rf"cost +{whole['cost']:,.2f}", capsys.readouterr().out)


def test_method_head_spends_no_candidate_query(tmp_path: Path) -> None:
    words = [str(CRAFT_RUN), *SMALL, "method=head", "name=head", "mlflow.enabled=false"]
    result = run(tmp_path, "train", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    ledger = summary_of(tmp_path, "head")["ledger"]
    assert ledger["candidate_queries"] == 0
    assert ledger["head_predictions"] == 2 * 20
    assert not (tmp_path / "runs" / "mlflow.db").exists()


def test_the_embedded_data_set_teaches_something_in_a_few_generations(
    searched: tuple[Path, str],
) -> None:
    folder, _ = searched
    summary = summary_of(folder, "small")
    best = summary["best"]["validation"]["accuracy"]
    assert best > summary["zero_shot"]["validation"]["accuracy"]
    assert np.isfinite(summary["best"]["validation"]["loss"])


def test_a_time_limit_ends_a_run_with_what_it_has(shared_ray: str, tmp_path: Path) -> None:
    words = [*SMALL, "max_queries=4000", "time_limit_s=0.01", "name=short"]
    result = call(shared_ray, tmp_path, "train", str(CRAFT_RUN), *words)
    assert result.returncode == 0, result.stdout + result.stderr
    summary = summary_of(tmp_path, "short")
    assert 0 < summary["ledger"]["candidate_queries"] < 4000
    assert summary["tuned"]["test"]["accuracy"] >= 0


def test_a_search_that_had_too_little_time_is_resumed_with_more(
    shared_ray: str, tmp_path: Path
) -> None:
    words = [*SEARCH, "time_limit_s=0.01", "name=short"]
    result = call(shared_ray, tmp_path, "tune", *words)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "no trial came to a result in time_limit_s=0.01" in result.stderr
    assert not (tmp_path / "runs" / "short" / "summary.json").exists()
    result = call(shared_ray, tmp_path, "runs", "resume", "short", "time_limit_s=600")
    assert result.returncode == 0, result.stdout + result.stderr
    summary = summary_of(tmp_path, "short")
    assert [trial["status"] for trial in summary["trials"]] == ["finished", "finished"]
