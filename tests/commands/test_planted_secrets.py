"""A password is planted in every place where a user may put one, and looked for everywhere."""

from __future__ import annotations

import argparse
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from craft_ray.commands import reproduce, train, tune
from craft_ray.commands.common import exit_with
from craft_ray.commands.frame import resume_hint
from craft_ray.config.run import RunConfig
from craft_ray.errors import UserError
from craft_ray.jobs.run_folder import open_run_folder
from craft_ray.tracking.spool import SPOOL_FOLDER
from tests.support.mlflow_server import mlflow_server, runs_of
from tests.support.small_data import small_data

IN_ADDRESS = "pl4nted-in-address"
IN_PASSWORD = "pl4nted-in-password"
IN_TOKEN = "pl4nted-in-token"
PLANTED = (IN_ADDRESS, IN_PASSWORD, IN_TOKEN)
SMALL = [
    *(small_data(), "data.shots=2", "data.views=1", "pool.replicas=1"),
    *("max_queries=40", "evaluate_every_generations=1", "optimizer.batches=1"),
]


def uri_with_secret(uri: str) -> str:
    return uri.replace("http://", f"http://user:{IN_ADDRESS}@")


def assert_clean(text: str, where: object) -> None:
    for secret in PLANTED:
        assert secret not in text, where


@pytest.mark.parametrize("module", [train, tune, reproduce])
@pytest.mark.parametrize("more", [["--dry-run"], ["head.hiden=1"], ["mlflow.experiment=[]"]])
def test_neither_plans_nor_mistakes_show_it(
    module: argparse.Namespace, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    uri = uri_with_secret("http://127.0.0.1:9")
    for word in (f"mlflow.tracking_uri={uri}", f"mlflow.tracking_uri=[{uri}]", f"mlflow={uri}"):
        module.main([word, *more])
        shown = capsys.readouterr()
        assert shown.out + shown.err
        assert_clean(shown.out + shown.err, word)


def test_the_command_that_continues_does_not_show_it(tmp_path: Path) -> None:
    words = [f"mlflow.tracking_uri={uri_with_secret('http://host')}", "seed=2"]
    with (
        pytest.raises(Exception, match="continue with") as caught,
        resume_hint("train", words, tmp_path),
    ):
        raise KeyboardInterrupt
    assert_clean(str(caught.value), "hint")
    assert "seed=2" in str(caught.value)


def test_a_message_of_any_user_error_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise UserError(f"cannot read {uri_with_secret('http://never-seen-before')}/x")

    assert exit_with(fail) == 2
    assert capsys.readouterr().err == "error: cannot read http://***@never-seen-before/x\n"


def test_what_is_stored_for_a_resume_is_masked(tmp_path: Path) -> None:
    from craft_ray.config.loading import load_run_config

    def settings(uri: str) -> dict[str, object]:
        config = load_run_config(None, [f"mlflow.tracking_uri={uri}"])
        return config.model_dump(mode="json", exclude={"name"})

    first = settings("http://user:one@host")
    with open_run_folder(tmp_path, "r", "train", first, RunConfig, resume=False) as folder:
        assert "one" not in (folder / "settings.json").read_text()
    again = settings("http://user:two@elsewhere")
    with open_run_folder(tmp_path, "r", "train", again, RunConfig, resume=True) as resumed:
        assert resumed == folder


@pytest.mark.slow
def test_a_search_writes_it_nowhere(tmp_path: Path) -> None:
    variables = os.environ | {
        "MLFLOW_TRACKING_USERNAME": "user",
        "MLFLOW_TRACKING_PASSWORD": IN_PASSWORD,
        "MLFLOW_TRACKING_TOKEN": IN_TOKEN,
    }
    variables.pop("RAY_ADDRESS", None)
    server_folder = tmp_path / "server"
    server_folder.mkdir()
    with mlflow_server(server_folder) as server:
        result = subprocess.run(
            [
                *(sys.executable, "-m", "craft_ray.tune", *SMALL, "trials=1", "name=r"),
                *("scheduler={kind: none}", f"mlflow.tracking_uri={uri_with_secret(server.uri)}"),
            ],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        runs = runs_of(server.uri)
    assert len(runs) == 2
    assert_clean(result.stdout + result.stderr, "output")
    for run in runs:
        assert_clean(json.dumps(run.to_dictionary()), run.info.run_name)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "settings.json" for path in files)
    assert not any(path.suffix == ".pkl" for path in files), "a pickle runs what is in it"
    for path in files:
        assert_clean(path.read_bytes().decode("latin-1"), path)
    settings = json.loads((tmp_path / "runs" / "r" / "settings.json").read_text())
    assert "://***@" in settings["base"]["mlflow"]["tracking_uri"]


@pytest.mark.slow
def test_a_spool_that_is_left_is_private_and_without_it(tmp_path: Path) -> None:
    # Imported here: MLflow takes seconds, and the other tests of this file need none of it.
    from craft_ray.tracking import MlflowTracker

    server_folder, runs_dir = tmp_path / "server", tmp_path / "runs"
    server_folder.mkdir()
    said: list[str] = []
    with mlflow_server(server_folder) as server:
        uri = uri_with_secret(server.uri)
        tracker = MlflowTracker(uri, "craft-ray", runs_dir, said.append)
        server.kill()
        tracker.open("s", "a search", {"mlflow.tracking_uri": uri})
        tracker.shutdown()
    assert_clean("".join(said), "lines")
    files = list((runs_dir / SPOOL_FOLDER).iterdir())
    assert files
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert_clean(path.read_bytes().decode("latin-1"), path)
