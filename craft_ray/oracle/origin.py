"""Where published weights come from, for the record. Loads no model and asks no network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.oracle import AnyOracleConfig
from craft_ray.oracle.catalogue import LOCAL_DIR_PREFIX
from craft_ray.oracle.check import tag_of


@dataclass(frozen=True)
class Origin:
    """Of the weights of a model.

    Attributes:
        source: an address, `hf-hub:<owner>/<name>`, or the name of a local file or folder.
        revision: the commit on the hub; None where there is none, or this machine does not know it.
    """

    source: str
    revision: str | None = None


def origin_of(config: AnyOracleConfig) -> Origin:
    """What is known of the weights from their name alone; paths of this machine are left out."""
    if isinstance(config, EndpointConfig):
        return Origin(config.url, config.revision or None)
    if config.model == "embedded":
        return Origin("craft-ray's own demonstration model")
    if config.model.startswith(LOCAL_DIR_PREFIX):
        return Origin(f"folder {Path(config.model.removeprefix(LOCAL_DIR_PREFIX)).name}")
    tag = tag_of(config)
    if tag is None:
        return Origin(f"file {Path(config.pretrained or '').name}")
    repository = str(tag.get("hf_hub") or "").strip("/")
    if repository:
        return Origin(f"hf-hub:{repository}", _cached_revision(repository))
    return Origin(str(tag.get("url") or f"tag {config.pretrained}"))


def _cached_revision(repository: str) -> str | None:
    """The commit that the hub's cache on this machine has of a repository."""
    from huggingface_hub.constants import HF_HUB_CACHE

    reference = Path(HF_HUB_CACHE, f"models--{repository.replace('/', '--')}", "refs", "main")
    try:
        return reference.read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None
