"""Trials run beside the GPUs where a cluster has both kinds of nodes."""

from __future__ import annotations

from craft_ray.config.oracle import PoolConfig
from craft_ray.config.run import RunConfig
from craft_ray.pool.membership import NodeView
from craft_ray.pool.placement import place_trials

HEAD = NodeView("head", 8.0)
NAMED = NodeView("named", 4.0, 1.0, accelerator="A10G")
UNNAMED = NodeView("unnamed", 4.0, 2.0)


def test_without_gpus_or_without_other_nodes_a_trial_may_run_anywhere() -> None:
    for nodes in ([HEAD], [NAMED], [NAMED, UNNAMED], []):
        place = place_trials(RunConfig(), nodes)
        assert place.selector == {}
        assert place.num_cpus == sum(node.num_cpus for node in nodes)
    assert place_trials(RunConfig(), [NAMED, UNNAMED]).num_replicas == 3


def test_gpu_nodes_are_left_alone_by_type_or_else_by_name() -> None:
    place = place_trials(RunConfig(), [HEAD, NAMED, UNNAMED])
    assert place.selector == {
        "ray.io/accelerator-type": "!in(A10G)",
        "ray.io/node-id": "!in(unnamed)",
    }
    assert (place.num_cpus, place.num_replicas) == (8.0, 0)
    assert place_trials(RunConfig(), [HEAD, NAMED]).selector == {
        "ray.io/accelerator-type": "!in(A10G)"
    }


def test_replicas_on_cpus_count_beside_the_trials() -> None:
    config = RunConfig(pool=PoolConfig(gpus_per_replica=0.0, replicas=3))
    place = place_trials(config, [HEAD, NAMED])
    assert (place.num_cpus, place.num_replicas) == (8.0, 3)


def test_where_no_other_node_holds_a_trial_it_runs_on_a_gpu_node() -> None:
    assert place_trials(RunConfig(), [NodeView("head", 0.1), NAMED]).selector == {}
