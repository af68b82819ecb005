"""A pool on a cluster that has no GPU yet: an autoscaler brings nodes, and takes them back."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.autoscaling_cluster import in_own_namespace, namespaces_are_allowed


@pytest.mark.slow
@pytest.mark.nightly(
    "craft_ray/pool", "tests/pool/autoscaling_story.py", "tests/support/autoscaling_cluster.py"
)
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    not namespaces_are_allowed(), reason="this machine allows no PID namespace (unshare)"
)
def test_gpus_come_when_queries_queue_and_go_when_they_do_not() -> None:
    command = in_own_namespace([sys.executable, "-m", "tests.pool.autoscaling_story"])
    story = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
        # The fake provider's nodes would not find a token.
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
    )
    assert story.returncode == 0
    events = [json.loads(line) for line in story.stdout.splitlines() if line.startswith("{")]
    assert events == [
        {"event": "before", "gpu_nodes": 0, "device": "cuda"},
        {"event": "started", "gpu_nodes": 1, "replicas": 1},
        {"event": "queued", "gpu_nodes": 2, "replicas": 2, "replica_nodes": 2},
        {"event": "idle", "gpu_nodes": 0, "replicas": 0, "asked_for": 0},
        {"event": "asked again", "gpu_nodes": 1, "equal": True, "retries": 0},
        {"event": "ended", "gpu_nodes": 0, "asked_for": 0},
        {"event": "killed", "gpu_nodes": 0, "asked_for": 0},
    ]
