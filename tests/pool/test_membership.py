"""Which replicas a pool has on a cluster whose nodes come and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from craft_ray.config.oracle import PoolConfig
from craft_ray.pool.membership import (
    NodeView,
    PoolSize,
    decide_size,
    node_seats,
    num_replicas,
    numbered_seats,
)


def cpu_node(node_id: str = "a" * 56, cpus: float = 2.0) -> NodeView:
    return NodeView(node_id, cpus)


def gpu_node(node_id: str = "b" * 56, gpus: float = 1.0, draining: bool = False) -> NodeView:
    return NodeView(node_id, 8.0, gpus, draining)


def test_without_gpus_there_is_a_replica_for_two_cpus_of_each_node_up_to_four() -> None:
    for cpus, replicas in ((0.5, 0), (1.0, 1), (2.0, 1), (4.0, 2), (64.0, 4)):
        nodes = [cpu_node(cpus=cpus)]
        assert num_replicas(decide_size(PoolConfig(), nodes), nodes) == replicas
    for cpus, threads in ((1.0, 1), (2.0, 2), (4.0, 2), (64.0, 16)):
        assert decide_size(PoolConfig(), [cpu_node(cpus=cpus)]).threads_per_replica == threads


def test_threads_do_not_depend_on_how_many_replicas_the_user_asks_for() -> None:
    for nodes in ([cpu_node(cpus=2.0)], [cpu_node(cpus=64.0)], [gpu_node(gpus=2.0)], []):
        automatic = decide_size(PoolConfig(), nodes).threads_per_replica
        for replicas in (1, 2, 4):
            size = decide_size(PoolConfig(replicas=replicas), nodes)
            assert size.threads_per_replica == automatic
    assert decide_size(PoolConfig(threads_per_replica=3), []).threads_per_replica == 3


def test_with_gpus_there_is_a_replica_a_gpu_and_none_on_nodes_without() -> None:
    nodes = [cpu_node(), gpu_node(gpus=3.0)]
    size = decide_size(PoolConfig(), nodes)
    assert (size.gpus_per_replica, size.device) == (1.0, "cuda")
    assert set(node_seats(size, nodes).values()) == {"b" * 56}
    assert num_replicas(size, nodes) == 3


def test_a_share_of_a_gpu_gives_more_replicas() -> None:
    nodes = [gpu_node(gpus=2.0)]
    # Two shares of 0.4 fit on each; a fifth of both GPUs is none that Ray would ever give.
    for gpus, replicas in ((0.5, 4), (0.4, 4), (0.7, 2), (0.1, 20), (1.0, 2), (2.0, 1)):
        size = decide_size(PoolConfig(gpus_per_replica=gpus), nodes)
        assert num_replicas(size, nodes) == replicas


def test_a_number_is_placed_by_ray_whatever_nodes_there_are() -> None:
    size = decide_size(PoolConfig(replicas=4, gpus_per_replica=1.0), [cpu_node()])
    assert (size.replicas, size.device) == (4, "cuda")
    assert numbered_seats(num_replicas(size, []), {}) == [f"oracle-{index}" for index in range(4)]


def test_gpus_can_be_declined() -> None:
    nodes = [gpu_node(gpus=4.0)]
    size = decide_size(PoolConfig(gpus_per_replica=0.0), nodes)
    assert (num_replicas(size, nodes), size.device) == (4, "cpu")


def test_a_new_node_gets_seats_and_a_leaving_one_loses_them() -> None:
    old, new = gpu_node("1" * 56, gpus=2.0), gpu_node("2" * 56, gpus=1.0)
    size = decide_size(PoolConfig(), [old])
    of_old = {"oracle-111111111111-0", "oracle-111111111111-1"}
    assert node_seats(size, [old]).keys() == of_old
    assert node_seats(size, [old, new]).keys() == of_old | {"oracle-222222222222-0"}
    draining = NodeView(old.node_id, old.num_cpus, old.num_gpus, draining=True)
    assert node_seats(size, [draining, new]).keys() == {"oracle-222222222222-0"}


ASKING = PoolConfig(min_replicas=0, max_replicas=4, gpus_per_replica=1.0)


def test_with_an_autoscaler_nothing_depends_on_the_nodes_that_are_already_there() -> None:
    sizes = [decide_size(ASKING, nodes) for nodes in ([], [cpu_node()], [gpu_node(gpus=4.0)])]
    assert set(sizes) == {PoolSize(None, 1.0, 1, max_replicas=4)}
    assert num_replicas(sizes[0], []) == 4


def test_nodes_are_emptied_whole() -> None:
    present = {"oracle-0": "b", "oracle-1": "a", "oracle-2": "b", "oracle-3": None, "oracle-4": "c"}
    assert numbered_seats(5, present) == [
        "oracle-0",
        "oracle-2",
        "oracle-1",
        "oracle-4",
        "oracle-3",
    ]
    assert set(numbered_seats(3, present)) == {"oracle-0", "oracle-1", "oracle-2"}
    assert set(numbered_seats(2, present)) == {"oracle-0", "oracle-2"}
    assert numbered_seats(0, present) == []


def test_who_is_on_a_node_that_will_go_moves() -> None:
    present: dict[str, str | None] = {"oracle-0": "a", "oracle-1": "b", "oracle-2": "a"}
    assert numbered_seats(3, present, {"a"}) == ["oracle-1", "oracle-3", "oracle-4"]


places = st.sampled_from(["a", "b", "c", None])


@given(
    wanted=st.integers(0, 12),
    present=st.dictionaries(st.integers(0, 9).map(lambda n: f"oracle-{n}"), places),
    draining=st.sets(st.sampled_from(["a", "b"])),
)
def test_as_many_seats_as_are_wanted_and_none_moves_without_need(
    wanted: int, present: dict[str, str | None], draining: set[str]
) -> None:
    desired = numbered_seats(wanted, present, draining)
    assert len(desired) == len(set(desired)) == wanted
    staying = {seat for seat, node in present.items() if node not in draining}
    assert set(desired) <= staying or staying <= set(desired)
    assert not set(desired) & (present.keys() - staying), "a name is free when its replica is gone"
    placed = {seat for seat in staying if present[seat] is not None}
    assert set(desired) & staying <= placed or placed <= set(desired), (
        "who waits for room goes first"
    )
