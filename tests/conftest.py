"""Settings of the whole test session."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from craft_ray.files.remote import Place, locate
from tests.support.s3_server import CREDENTIALS, S3Server, s3_server

# The models of the tests are tiny: threads only wait for each other, and for other processes.
torch.set_num_threads(1)

_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with pytest.MonkeyPatch.context() as patch, s3_server() as server:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty folder."""
    if request.param == "disk":
        return tmp_path
    server: S3Server = request.getfixturevalue("s3")
    return locate(server.address(f"test-{next(_numbers)}"))
