"""`craft-ray ui`: MLflow's pages of the runs on this machine."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from craft_ray.commands.common import add_output_dir, exit_with
from craft_ray.errors import ConfigError, RunFailedError

HOST = "127.0.0.1"
"""Nobody else sees the pages."""
START_WITHIN_S = 120.0
KIND = "workflowType=machine_learning"
"""MLflow opens pages of language models without it, whatever an experiment's tags say."""
VIEW = "craft-ray"
"""Name of a view of the list of runs, which MLflow keeps as a tag of the experiment: its own list
has no metric."""
COLUMNS = (
    "attributes.`Created`",
    "attributes.`Duration`",
    *(f"metrics.`accuracy/{of}`" for of in ("test", "val", "zero_shot")),
    "metrics.`queries`",
    "metrics.`cost`",
    "tags.`method`",
    "tags.`data`",
    "tags.`best`",
)
NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="craft-ray ui",
        description="Start MLflow's server on this machine, say where its pages of the runs (or of "
        "RUN) are, and end it with Ctrl-C.",
        epilog="Example: craft-ray ui quickstart-20260102-030405-a1b2",
    )
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="name or folder of a run, or `latest`"
    )
    add_output_dir(parser)
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="of a database elsewhere (default: that of DIR)"
    )
    parser.add_argument(
        "--experiment", default="craft-ray", metavar="NAME", help="of MLflow (default: craft-ray)"
    )
    parser.add_argument(
        "--port", type=_port, default=5000, help="if it is free, else any (default: 5000)"
    )
    options = parser.parse_args(arguments)
    return exit_with(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    from craft_ray.config.sections import MlflowConfig
    from craft_ray.files.remote import locate
    from craft_ray.tracking.mlflow_tracker import tracking_uri
    from craft_ray.tracking.moved import follow
    from craft_ray.tracking.places import DATABASE_FILE, tracking_folder

    folder = tracking_folder(locate(options.output_dir))
    database = folder / DATABASE_FILE
    if options.tracking_uri is None and not database.is_file():
        raise ConfigError(
            "--output-dir",
            [f"{folder} must have runs that MLflow has recorded, but has no {database.name}"],
        )
    if options.tracking_uri is None:
        with suppress(sqlite3.Error):  # read-only, or in use: the pages are there nevertheless
            follow(database)
    run = None if options.run is None else _name_of(options.run, options.output_dir)
    port = _free_port(options.port)
    if port != options.port:
        print(f"Port {options.port} is taken: another one is used.", file=sys.stderr)
    uri = options.tracking_uri or tracking_uri(MlflowConfig(), folder)
    words = ["ui", "--backend-store-uri", uri, "--host", HOST, "--port", str(port)]
    print("Starting MLflow ...", flush=True)
    command = [sys.executable, "-m", "mlflow", *words, "--workers", "1"]
    server = subprocess.Popen(
        command,
        env={**os.environ, **NO_TELEMETRY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is ours; the server is ended below
    )
    try:
        base = f"http://{HOST}:{port}"
        if not _answers(server, base):
            raise RunFailedError(f"MLflow did not start; why, says: {shlex.join(command)}")
        print(f"{_page(base, options.experiment, run)}\nCtrl-C ends it", flush=True)
        if code := server.wait():
            raise RunFailedError(f"MLflow has ended with exit code {code}")
    except KeyboardInterrupt:
        print()
    finally:
        server.terminate()
        server.wait()


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"must be between 1 and 65535, but got {text!r}")
    return int(text)


def _name_of(run: str, output_dir: str) -> str:
    """The name that MLflow has of a run.

    Raises:
        ConfigError: it cannot be one, or there is no latest.
    """
    from craft_ray.config.run import RUN_NAME_PATTERN
    from craft_ray.files.remote import locate
    from craft_ray.jobs.run_list import runs_in

    if run == "latest":
        runs = runs_in(locate(output_dir))
        if not runs:
            raise ConfigError("RUN", [f"must be the name of a run, but {output_dir} has none"])
        return runs[0].name
    name = os.path.basename(os.path.normpath(run))
    if not re.fullmatch(RUN_NAME_PATTERN, name):
        raise ConfigError("RUN", [f"must be the name of a run, but got {run[:200]!r}"])
    return name


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as tried:
            try:
                tried.bind((HOST, port))
            except OSError:
                continue
            found: int = tried.getsockname()[1]
            return found
    raise ConfigError("--port", [f"{wanted} must be free, or another port, but none is"])


def _answers(server: subprocess.Popen[bytes], base: str) -> bool:
    """Wait until the server answers, or has ended."""
    deadline_s = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline_s and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{base}/health", timeout=5):
                return True
        except OSError:
            time.sleep(0.2)
    return False


def _page(base: str, experiment: str, run: str | None) -> str:
    """The address of the experiment's page, or of a run's.

    Raises:
        ConfigError: MLflow knows no such experiment or run.
    """
    name = urllib.parse.quote(experiment)
    try:
        found = _ask(f"{base}/api/2.0/mlflow/experiments/get-by-name?experiment_name={name}")
    except urllib.error.HTTPError as error:
        problem = f"must be one that MLflow knows, but got {experiment!r}"
        raise ConfigError("--experiment", [problem]) from error
    experiment_id = found["experiment"]["experiment_id"]
    page = f"{base}/#/experiments/{experiment_id}"
    if run is None:
        view = json.dumps({"selectedColumns": COLUMNS})
        tag = {"experiment_id": experiment_id, "key": f"mlflow.sharedViewState.{VIEW}"}
        try:
            _ask(f"{base}/api/2.0/mlflow/experiments/set-experiment-tag", {**tag, "value": view})
        except urllib.error.HTTPError:  # a database that may only be read
            return f"{page}/runs?{KIND}"
        return f"{page}/runs?{KIND}&viewStateShareKey={VIEW}"
    runs = _ask(
        f"{base}/api/2.0/mlflow/runs/search",
        {
            "experiment_ids": [experiment_id],
            "filter": f'tags.`mlflow.runName` = "{run}"',  # a name of ours has no quotes
        },
    ).get("runs")
    if not runs:
        raise ConfigError("RUN", [f"must be the name of a run that MLflow knows, but got {run!r}"])
    return f"{page}/runs/{runs[0]['info']['run_id']}?{KIND}"


def _ask(address: str, words: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if words is None else json.dumps(words).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        answer: dict[str, Any] = json.load(reply)
    return answer
