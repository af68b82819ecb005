"""What MLflow is told of a run besides its metrics: parameters, tags, data sets, a description and
the files of a run that has ended."""

from __future__ import annotations

import getpass
import hashlib
import logging
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from craft_ray.classifiers.artifact import DESCRIPTION_FILE, RESULT_FOLDER
from craft_ray.classifiers.interval import accuracy_interval
from craft_ray.config.documents import flatten, to_yaml
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.method_names import method_name
from craft_ray.config.money import money
from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Item
from craft_ray.errors import last_words
from craft_ray.files.folders import on_this_disk
from craft_ray.files.remote import Place
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.metering.ledger import has_needed_answers
from craft_ray.oracle.gate.bill import Bill
from craft_ray.task.preparation import FewShotData
from craft_ray.task.provenance import manifest
from craft_ray.tracking import DataInput, LoggedModel, Tracker
from craft_ray.tracking.vocabulary import spent_metrics

NO_PARAMETERS = ("name", "output_dir", "answer_cache", "mlflow", "pool", "ray")
"""Sections of the settings that do not change what is found. The artefact has them."""
REPORT_FILE = "report.html"
logger = logging.getLogger(__name__)
YAML_FILE = "settings.yaml"
MAX_TEST_MANIFEST = 20_000
"""Test images up to this number are read again for their content address; of more the names and
labels are taken."""
GIT_TIMEOUT_S = 5.0


@contextmanager
def harmless() -> Iterator[None]:
    """The run has ended well and its summary is written: what MLflow misses is a warning."""
    try:
        yield
    except Exception as error:
        logger.warning("MLflow misses a part of the run: %s", last_words(error))


def run_params(config: RunConfig) -> dict[str, Any]:
    """The settings as parameters; those that are not set are left out."""
    document = config.model_dump(mode="json", exclude=set(NO_PARAMETERS))
    return {name: value for name, value in flatten(document).items() if value is not None}


def run_tags(command: str, config: RunConfig, data: str | None = None) -> dict[str, str]:
    """Tags of a run, which MLflow's lists have as columns.

    Args:
        command: that made it, such as `tune`.
        config: its settings.
        data: name of the data set.
    """
    tags = {
        "model": model_name(config),
        "method": method_name(config),
        "source": config.data.source.kind,
        "mlflow.source.name": f"craft-ray {command}",
        "mlflow.source.type": "LOCAL",
    }
    if data is not None:
        tags["data"] = data
    with suppress(OSError, KeyError):  # a container whose user has no name
        tags["mlflow.user"] = getpass.getuser()
    if (commit := working_commit()) is not None:
        tags["mlflow.source.git.commit"] = commit
    return tags


def model_name(config: RunConfig) -> str:
    """Model and weights in one word."""
    oracle = config.oracle
    if isinstance(oracle, EndpointConfig):
        return oracle.model or oracle.url
    return f"{oracle.model}/{oracle.pretrained}" if oracle.pretrained else oracle.model


@cache  # every trial has it
def working_commit() -> str | None:
    """The git commit of the folder that the command was started in; None: there is none."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def data_inputs(config: RunConfig, data: FewShotData, context: str) -> DataInput:
    """The images that a run uses for `training`, `validation` or `test`, with their digest.

    Raises:
        DataError: an image cannot be read.
    """
    items: Sequence[Item] = {
        "training": data.train,
        "validation": data.validation,
        "test": data.test,
    }[context]
    source = config.data.source.model_dump(mode="json")
    return DataInput(
        name=data.dataset.name,
        context=context,
        digest=_digest(items),
        source=str(source.get("file") or source.get("root") or source["kind"]),
        num_images=len(items),
        num_classes=data.size.num_classes,
    )


def all_inputs(config: RunConfig, data: FewShotData) -> list[DataInput]:
    """The images of each use that has some."""
    used = {"training": data.train, "validation": data.validation, "test": data.test}
    return [data_inputs(config, data, context) for context, items in used.items() if items]


def _digest(items: Sequence[Item]) -> str:
    if len(items) <= MAX_TEST_MANIFEST:
        return manifest(items)
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.name}\n{item.label}\n".encode())
    return digest.hexdigest()


def record_end(
    tracker: Tracker,
    key: str,
    folder: Place,
    summary: Mapping[str, Any],
    config: RunConfig,
    step: int,
) -> None:
    """After the summary is written: what was spent, and the files of the run.

    Args:
        tracker: is told.
        key: of the run.
        folder: of the run.
        summary: its content.
        config: of the run, or the base of a search.
        step: of its metrics.
    """
    spent = spent_metrics(summary["ledger"], summary["cost"], summary["seconds"])
    tracker.log(key, [{"step": step, **spent}])
    files = {YAML_FILE: to_yaml(summary["settings"]).encode()}
    for name in (SUMMARY_FILE, REPORT_FILE):
        if (folder / name).is_file():
            files[name] = (folder / name).read_bytes()
    tracker.log_files(key, files)


def record_model(
    tracker: Tracker,
    key: str,
    folder: Place,
    class_names: Sequence[str],
    metrics: Mapping[str, float],
    config: RunConfig,
) -> None:
    """The classifier of a run as a model of MLflow.

    Args:
        tracker: is told.
        key: of the run.
        folder: of the run.
        class_names: of the classifier.
        metrics: of it, by the names of the vocabulary.
        config: of the run that made it.
    """
    best = folder / RESULT_FOLDER
    digest = hashlib.sha256((best / DESCRIPTION_FILE).read_bytes()).hexdigest()
    tags = {"model": model_name(config), "method": method_name(config), "run": folder.name}
    tags["classifier"] = digest[:16]
    model = LoggedModel(tuple(class_names), dict(metrics), tags, config.mlflow.register_as)
    with on_this_disk(best) as local:
        tracker.log_model(key, local, model)


def describe_result(
    summary: Mapping[str, Any], result: Mapping[str, Any] | None, words: str, config: RunConfig
) -> str:
    """Markdown for MLflow's page of a run.

    Args:
        summary: of the run.
        result: of its classifier; None: it has none.
        words: about the classifier, after the numbers.
        config: of the run, or the base of a search.
    """
    data, ledger = summary["data"], summary["ledger"]
    num_test = f"{data['num_test']:,}" if data["num_test"] else "no"
    lines = []
    test = result and result["test"]
    if test is not None:
        low, high = accuracy_interval(test["accuracy"], data["num_test"])
        before = summary["zero_shot"]["test"]["accuracy"]
        lines.append(
            f"**{test['accuracy']:.1%} on {data['num_test']:,} test images** (95 %: {low:.1%} to "
            f"{high:.1%}; zero-shot {before:.1%}){words}"
        )
    elif not data["num_test"]:
        by = (result or {}).get("judged_by", "validation")
        alone = {"validation": "validation alone", "held_out": "held-out training images alone"}
        lines.append(f"No test images: {alone.get(by, 'nothing')} says how good it is.{words}")
    if verdict := (result or {}).get("verdict"):
        lines.append(verdict)
    lines += ((result or {}).get("head") or {}).get("sentences", ())
    bill = summary.get("bill")
    has_cost = summary["cost"] is not None and bill is None
    cost = f", cost {money(summary['cost'])}" if has_cost else ""
    is_needed = has_needed_answers(ledger)
    predictions = _so_many(ledger["image_predictions"], "image prediction", "image predictions")
    training = f"{data['num_train']:,} training, " if data["num_train"] else ""
    lines += [
        f"Spent: {_so_many(ledger['candidate_queries'], 'query', 'queries')}, {predictions}{cost}, "
        f"{summary['seconds']:.0f} s",
        *([] if bill is None else [Bill.from_dict(bill).sentence(is_needed=is_needed)]),
        f"Data: {data['name']}, {_so_many(data['num_classes'], 'class', 'classes')}, {training}"
        f"{data['num_validation'] or 'no'} validation and {num_test} test images",
        f"Model: {model_name(config)}",
        f"Label images: `craft-ray predict {summary['name']} PHOTOS`",
    ]
    if config.mlflow.register_as is not None:
        lines.append(f'In Python: `mlflow.pyfunc.load_model("models:/{config.mlflow.register_as}')
        lines[-1] += '@champion")`'
    return "\n\n".join(lines)


def _so_many(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
