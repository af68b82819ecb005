"""Settings of the whole test session."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from craft_ray.files.remote import Place, locate
from tests.support.nightly import changed_lately, concerns_of, is_named
from tests.support.s3_server import CREDENTIALS, S3Server, s3_server
from tests.support.shared_ray import running_ray

# The models of the tests are tiny: threads only wait for each other, and for other processes.
torch.set_num_threads(1)

# Ray asks for a token on one machine unless it is told not to, and a process that has had one is
# not answered by a Ray that has none, such as the shared one. `test_ray_session` and `test_ray_up`
# ask for it.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

# A shell starts what it runs in the background (`pytest &`) with Ctrl-C ignored.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# `--hypothesis-profile thorough` is for the night; tests may take a share (support/examples.py).
settings.register_profile("quick", max_examples=40, deadline=None)
settings.register_profile("thorough", max_examples=400, deadline=None)
settings.load_profile("quick")

_numbers = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--nightly",
        choices=["changed", "all"],
        help="run tests marked nightly too: all, or those whose files changed lately",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave nightly tests out unless they are asked for, by option, by marker or by file."""
    choice = config.getoption("--nightly")
    if choice == "all" or "nightly" in config.option.markexpr:
        return

    def is_wanted(item: pytest.Item) -> bool:
        concerns = concerns_of(item)
        if concerns is None or is_named(item, config):
            return True
        return choice == "changed" and changed_lately(concerns)

    wanted = {item: is_wanted(item) for item in items}
    config.hook.pytest_deselected(items=[item for item in items if not wanted[item]])
    items[:] = [item for item in items if wanted[item]]


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


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[str]:
    """The address of a Ray that all tests share, with more logical CPUs than there are."""
    with running_ray() as address:
        yield address


@pytest.fixture(scope="module")
def on_shared_ray(shared_ray: str) -> Iterator[str]:
    """Whoever connects to Ray connects to that one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", shared_ray)
        yield shared_ray
