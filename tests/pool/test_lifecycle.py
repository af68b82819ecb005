"""How large a pool is made."""

from __future__ import annotations

from craft_ray.config.run import PoolConfig
from craft_ray.pool.lifecycle import decide_size


def test_without_gpus_there_is_a_replica_a_cpu_up_to_four() -> None:
    assert decide_size(PoolConfig(), {"CPU": 2.0}).replicas == 2
    assert decide_size(PoolConfig(), {"CPU": 64.0}).replicas == 4
    assert decide_size(PoolConfig(), {"CPU": 64.0}).threads_per_replica == 16


def test_with_gpus_there_is_a_replica_a_gpu() -> None:
    size = decide_size(PoolConfig(), {"CPU": 8.0, "GPU": 3.0})
    assert (size.replicas, size.gpus_per_replica, size.device) == (3, 1.0, "cuda")


def test_a_share_of_a_gpu_gives_more_replicas() -> None:
    size = decide_size(PoolConfig(gpus_per_replica=0.5), {"CPU": 8.0, "GPU": 2.0})
    assert size.replicas == 4


def test_a_cluster_that_scales_from_zero_is_asked_for_what_the_user_says() -> None:
    size = decide_size(PoolConfig(replicas=4, gpus_per_replica=1.0), {"CPU": 8.0})
    assert (size.replicas, size.device) == (4, "cuda")


def test_gpus_can_be_declined() -> None:
    size = decide_size(PoolConfig(gpus_per_replica=0.0), {"CPU": 2.0, "GPU": 4.0})
    assert (size.replicas, size.device) == (2, "cpu")
