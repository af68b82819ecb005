"""What a replica makes of the exceptions of the oracle that it hosts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from craft_ray.errors import ArtifactError, RunFailedError
from craft_ray.pool.address import Refused
from craft_ray.pool.replica import OracleReplica, failed
from tests.support.fake_oracle import FakeOracle


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (MemoryError("no memory"), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (ConnectionResetError("gone"), True),
        (RuntimeError("no such kernel"), False),
    ],
)
def test_what_lies_outside_of_the_question_may_pass(error: Exception, may_pass: bool) -> None:
    reply = failed(error)
    assert (reply.message, reply.may_pass) == (f"{type(error).__name__}: {error}", may_pass)


@pytest.mark.parametrize("kind", [RunFailedError, ArtifactError])
def test_records_that_fail_are_no_reason_to_ask_again(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(FakeOracle):
        num_images_encoded = 0

        def register_task(self, task: object) -> None:  # type: ignore[override]
            raise kind("answers.db: must be writable")

    monkeypatch.setattr("ray.get_actor", lambda name: None)
    made: Any = Broken
    replica = OracleReplica(made, "one", "registry")
    replica._oracle, replica._oracle_id = made(), "model"
    reply = replica.answer("register_task", None, None, {}, "task")
    assert reply == Refused("answers.db: must be writable", kind)  # type: ignore[arg-type]
    assert isinstance(reply, Refused)
    assert isinstance(reply.error(), kind)
