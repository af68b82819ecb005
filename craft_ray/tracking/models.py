"""A run's classifier as a model of MLflow: `mlflow.pyfunc.load_model`, `mlflow models serve`.

The model has the classifier's own files, and the name of the module that loads them. It has no
weights of the vision-language model: those are found as `craft-ray predict` finds them.
"""

from __future__ import annotations

import base64
import logging
import shutil
import tempfile
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

from mlflow.entities import LoggedModel as MlflowModel
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from craft_ray.tracking.base import LoggedModel, RefusedError, first_line
from craft_ray.tracking.model_columns import LABEL, PROBABILITY, column_of

MODEL_NAME = "classifier"
LOADER = "craft_ray.estimator.mlflow_loader"
"""What MLflow imports to load the model; nothing here does."""
CHAMPION = "champion"
SCORE = "accuracy/val"
"""What a champion is compared by; with an equal one the champion stays. A version without it, of a
run without validation images, becomes the champion where there is none."""
REQUIREMENTS = ("craft-ray", "mlflow", "numpy", "open_clip_torch", "pandas", "pillow", "torch")
MODEL_TYPE = "craft-ray classifier"
MODEL_ID_TAG = "craft_ray.model_id"
"""Of a registered version: MLflow 3.17's own field for it is empty when it is read."""
EXAMPLE_PIXELS = 32


def log_model(client: MlflowClient, run_id: str, folder: Path, model: LoggedModel) -> None:
    """Store the classifier in `folder` as the model of the run, and register it if that is asked.
    Sent again, it changes nothing.

    Raises:
        RefusedError: the model cannot be written, with or without a backend.
        Exception: whatever a tracking backend raises when it is away.
    """
    experiment_id = client.get_run(run_id).info.experiment_id
    query = f"source_run_id = '{run_id}'"
    found = client.search_logged_models([experiment_id], filter_string=query)
    # A search that got more trials has another best. One that was cut off is gone on with.
    version_of = model.tags.get("classifier")
    ours = [each for each in found if each.tags.get("classifier") == version_of]
    is_ready = {each.model_id: each.status == LoggedModelStatus.READY for each in ours}
    logged = max(ours, key=lambda each: is_ready[each.model_id], default=None)
    if logged is None:
        logged = client.create_logged_model(
            experiment_id, MODEL_NAME, run_id, tags=dict(model.tags), model_type=MODEL_TYPE
        )
    if not is_ready.get(logged.model_id):
        with tempfile.TemporaryDirectory(prefix="craft-ray-model-") as parent:
            written = Path(parent) / "model"
            try:
                write_model(folder, model.class_names, written, logged.model_id, run_id)
            except OSError:  # a full disk
                raise
            except Exception as error:  # such as a library that is not there
                raise RefusedError(f"the model cannot be written: {first_line(error)}") from error
            client.log_model_artifacts(logged.model_id, str(written))
        when_ms = int(logged.creation_timestamp)
        metrics = [
            Metric(name, value, when_ms, 0, model_id=logged.model_id, run_id=run_id)
            for name, value in model.metrics.items()
        ]
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
        client.log_batch(run_id, metrics=metrics)
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    if model.register_as is not None:
        _register(client, logged, run_id, model.register_as, model)


def write_model(
    folder: Path,
    class_names: tuple[str, ...],
    destination: Path,
    model_id: str | None = None,
    run_id: str | None = None,
) -> None:
    """Write the classifier in `folder` as a folder that `mlflow.pyfunc.load_model` takes."""
    # Here: they bring pandas, and only a run that has a classifier gets so far.
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)
    probabilities = [PROBABILITY, *map(column_of, class_names)]
    outputs = [ColSpec(DataType.double, name) for name in probabilities]
    # A column without a name and of any type lets paths, bytes, base64 and arrays pass.
    anything = ColSpec(AnyType())  # type: ignore[no-untyped-call]
    signature = ModelSignature(
        Schema([anything]), Schema([ColSpec(DataType.string, LABEL), *outputs])
    )
    with tempfile.TemporaryDirectory(prefix="craft-ray-model-") as parent:
        named = Path(parent) / MODEL_NAME
        shutil.copytree(folder, named)
        mlflow.pyfunc.save_model(
            path=str(destination),
            loader_module=LOADER,
            data_path=str(named),
            signature=signature,
            input_example=pd.DataFrame({"image": [_a_grey_image()]}),
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            mlflow_model=Model(model_id=model_id, run_id=run_id),
        )


def _register(
    client: MlflowClient, logged: MlflowModel, run_id: str, name: str, model: LoggedModel
) -> None:
    """A version of the registered model; the champion if none before was better."""
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name)
    score = model.metrics.get(SCORE)
    versions = client.search_model_versions(f"name = '{name}'")
    own = next((v for v in versions if v.tags.get(MODEL_ID_TAG) == logged.model_id), None)
    if own is None:
        own = client.create_model_version(
            name,
            logged.artifact_location,
            run_id,
            tags={**model.tags, MODEL_ID_TAG: logged.model_id, **_score_tag(score)},
            model_id=logged.model_id,
        )
    before = client.get_registered_model(name).aliases.get(CHAMPION)
    if before is not None:
        champion = client.get_model_version(name, str(before))
        if score is None or score <= float(champion.tags.get(SCORE, "-inf")):
            return
    client.set_registered_model_alias(name, CHAMPION, own.version)


def _score_tag(score: float | None) -> dict[str, str]:
    return {} if score is None else {SCORE: f"{score:.6f}"}


def _a_grey_image() -> str:
    """A small PNG as base64 text, as a client of a served model sends it."""
    from PIL import Image

    stream = BytesIO()
    Image.new("RGB", (EXAMPLE_PIXELS, EXAMPLE_PIXELS), "grey").save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()
