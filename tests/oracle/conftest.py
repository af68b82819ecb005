"""Every implementation of the contract: in this process, and as a pool on a real local Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from craft_ray.config.oracle import OracleConfig, PoolConfig
from craft_ray.config.sections import RayConfig
from craft_ray.jobs.ray_session import ray_session
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import Oracle, PixelArray
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.lifecycle import ClipFactory, running_pool
from craft_ray.pool.membership import PoolSize
from tests.support.checkpoints import tiny_clip_dir, tiny_custom_text_dir, vocabulary_read_once
from tests.support.fake_oracle import FakeOracle
from tests.support.foreign_models import FAMILIES, foreign_model_dir


def clip_of(folder: Path, **settings: object) -> ClipOracle:
    """The oracle of a checkpoint folder."""
    document = {"model": f"local-dir:{folder}", **settings}
    return ClipOracle.load(OracleConfig.model_validate(document))


@pytest.fixture(scope="session", autouse=True)
def quick_tokenizers() -> Iterator[None]:
    with vocabulary_read_once():
        yield


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip_dir(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def custom_text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_custom_text_dir(tmp_path_factory.mktemp("models") / "custom_text")


@pytest.fixture(scope="session")
def foreign_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model of each family that brings a tokenizer of `transformers`."""
    root = tmp_path_factory.mktemp("foreign")
    return {family: foreign_model_dir(root / family, family) for family in FAMILIES}


@contextmanager
def pool_of(
    folder: Path, *, white_box: bool = False, features: bool = False
) -> Iterator[PoolOracle]:
    """Two replicas of a checkpoint folder."""
    config = PoolConfig(candidates_per_chunk=2)
    model = OracleConfig(model=f"local-dir:{folder}", white_box=white_box, features=features)
    with (
        ray_session(RayConfig(num_cpus=2, object_store_mb=100)),
        running_pool("contract", ClipFactory(model, "cpu", 1), config, PoolSize(2, 0.0, 1)) as pool,
    ):
        yield PoolOracle(pool.address, config)


# Of a module and not of the session: the pool's Ray must end before other tests start theirs.
@pytest.fixture(
    scope="module",
    params=[
        "fake",
        "tiny_clip",
        "custom_text_clip",
        "embedded",
        "siglip",
        "clipa",
        "metaclip2",
        "mt5",
        pytest.param("pool", marks=pytest.mark.slow),
    ],
)
def oracle(
    request: pytest.FixtureRequest, tiny_folder: Path, custom_text_folder: Path
) -> Iterator[Oracle]:
    if request.param == "pool":
        with pool_of(tiny_folder) as pool:
            yield pool
    elif request.param == "fake":
        yield FakeOracle(answers=("logits", "unnormalized_logits"))
    elif request.param == "embedded":
        yield ClipOracle.load(OracleConfig())
    elif request.param in FAMILIES:
        yield clip_of(request.getfixturevalue("foreign_folders")[request.param])
    else:
        yield clip_of(tiny_folder if request.param == "tiny_clip" else custom_text_folder)


@pytest.fixture
def pixels(oracle: Oracle) -> PixelArray:
    size = oracle.describe().image_size
    return np.random.default_rng(0).integers(0, 256, (5, 3, size, size), dtype=np.uint8)
