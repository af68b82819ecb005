"""A tuned classifier as its user gets it: what `craft-ray predict` takes, in a zip."""

from __future__ import annotations

import io
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from craft_ray.classifiers.artifact import Artifact
from craft_ray.config.oracle import OracleConfig


def zipped(artifact: Artifact, name: str) -> bytes:
    """The folder of a classifier, as `name/...` in a zip.

    Args:
        artifact: the classifier.
        name: of the folder.
    """
    content = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        _public(artifact).save(Path(folder) / name)
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((Path(folder) / name).iterdir()):
                archive.write(path, f"{name}/{path.name}")
    return content.getvalue()


def _public(artifact: Artifact) -> Artifact:
    """Without where on the owner's machine the weights are: what others can load as well, such as
    a published tag, stays."""
    oracle = artifact.oracle
    if not isinstance(oracle, OracleConfig):
        return artifact
    is_place = oracle.model.startswith("local-dir:") or "/" in (oracle.pretrained or "")
    if not is_place:
        return artifact
    about = artifact.about and artifact.about.model_copy(update={"source": ""})
    return replace(artifact, oracle=None, about=about)
