"""Every implementation of the contract that runs in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from craft_ray.config.run import OracleConfig
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import Oracle, PixelArray
from tests.support.checkpoints import tiny_clip_dir, tiny_custom_text_dir
from tests.support.fake_oracle import FakeOracle


def clip_of(folder: Path, **settings: object) -> ClipOracle:
    """The oracle of a checkpoint folder."""
    document = {"model": f"local-dir:{folder}", **settings}
    return ClipOracle.load(OracleConfig.model_validate(document))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip_dir(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def custom_text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_custom_text_dir(tmp_path_factory.mktemp("models") / "custom_text")


@pytest.fixture(scope="session", params=["fake", "tiny_clip", "custom_text_clip", "embedded"])
def oracle(request: pytest.FixtureRequest, tiny_folder: Path, custom_text_folder: Path) -> Oracle:
    if request.param == "fake":
        return FakeOracle(answers=("logits", "unnormalized_logits"))
    if request.param == "embedded":
        return ClipOracle.load(OracleConfig())
    return clip_of(tiny_folder if request.param == "tiny_clip" else custom_text_folder)


@pytest.fixture
def pixels(oracle: Oracle) -> PixelArray:
    size = oracle.describe().image_size
    return np.random.default_rng(0).integers(0, 256, (5, 3, size, size), dtype=np.uint8)
