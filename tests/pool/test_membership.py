"""Which replicas a pool has on a cluster whose nodes come and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from craft_ray.config.oracle import PoolConfig
from craft_ray.pool.membership import (
    ALIVE,
    NodeView,
    PoolSize,
    decide_size,
    desired_members,
    num_replicas,
    to_publish,
    to_retire,
    to_start,
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
    assert set(desired_members(size, nodes).values()) == {"b" * 56}
    assert num_replicas(size, nodes) == 3


def test_a_share_of_a_gpu_gives_more_replicas() -> None:
    nodes = [gpu_node(gpus=2.0)]
    assert num_replicas(decide_size(PoolConfig(gpus_per_replica=0.5), nodes), nodes) == 4


def test_a_number_is_placed_by_ray_whatever_nodes_there_are() -> None:
    size = decide_size(PoolConfig(replicas=4, gpus_per_replica=1.0), [cpu_node()])
    assert (size.replicas, size.device) == (4, "cuda")
    assert desired_members(size, []) == {f"oracle-{index}": None for index in range(4)}


def test_gpus_can_be_declined() -> None:
    nodes = [gpu_node(gpus=4.0)]
    size = decide_size(PoolConfig(gpus_per_replica=0.0), nodes)
    assert (num_replicas(size, nodes), size.device) == (4, "cpu")


def test_a_new_node_gets_replicas_and_those_of_a_leaving_one_go() -> None:
    old, new = gpu_node("1" * 56, gpus=2.0), gpu_node("2" * 56, gpus=1.0)
    size = decide_size(PoolConfig(), [old])
    present = desired_members(size, [old])
    desired = desired_members(size, [old, new])
    assert to_start(desired, present) == ["oracle-222222222222-0"]
    assert to_retire(desired, present) == []
    draining = NodeView(old.node_id, old.num_cpus, old.num_gpus, draining=True)
    after = desired_members(size, [draining, new])
    assert to_retire(after, desired) == ["oracle-111111111111-0", "oracle-111111111111-1"]
    assert to_start(after, desired) == []


ASKING = PoolConfig(min_replicas=0, max_replicas=4, gpus_per_replica=1.0)


def test_with_an_autoscaler_nothing_depends_on_the_nodes_that_are_already_there() -> None:
    sizes = [decide_size(ASKING, nodes) for nodes in ([], [cpu_node()], [gpu_node(gpus=4.0)])]
    assert set(sizes) == {PoolSize(None, 1.0, 1, max_replicas=4)}
    assert num_replicas(sizes[0], []) == 4
    assert desired_members(sizes[0], [cpu_node()], 4) == {}


def test_nodes_are_emptied_whole() -> None:
    nodes = [gpu_node(f"{index}" * 56, gpus=2.0) for index in (1, 2, 3)]
    size = decide_size(ASKING, nodes)
    all_of_them = desired_members(size, nodes, 6)
    assert len(all_of_them) == 6
    present = [name for name in all_of_them if "111" not in name]
    assert set(desired_members(size, nodes, 4, present).values()) == {"2" * 56, "3" * 56}
    half = [name for name in present if name != "oracle-222222222222-0"]
    assert set(desired_members(size, nodes, 2, half).values()) == {"3" * 56}
    assert set(desired_members(size, nodes, 3, half)) == set(half)
    assert desired_members(size, nodes, 0, half) == {}


@given(wanted=st.integers(0, 12), ran=st.integers(0, 12), gpus=st.integers(1, 4))
def test_as_many_run_as_are_wanted_and_fit_and_none_moves_without_need(
    wanted: int, ran: int, gpus: int
) -> None:
    nodes = [gpu_node(f"{index}" * 56, gpus=gpus) for index in (1, 2, 3)]
    size = decide_size(ASKING, nodes)
    present = set(desired_members(size, nodes, ran))
    desired = set(desired_members(size, nodes, wanted, present))
    assert len(desired) == min(wanted, 3 * gpus)
    assert desired <= present or present <= desired


nodes_strategy = st.lists(
    st.builds(
        NodeView,
        st.integers(0, 30).map(lambda number: f"{number:056x}"),
        st.floats(0, 16),
        st.floats(0, 8),
        st.booleans(),
    ),
    max_size=8,
    unique_by=lambda node: node.node_id,
)


@given(before=nodes_strategy, after=nodes_strategy, share=st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_starting_and_retiring_leads_to_what_is_desired(
    before: list[NodeView], after: list[NodeView], share: float
) -> None:
    size = PoolSize(None, share, 1)
    present = set(desired_members(size, before))
    desired = desired_members(size, after)
    started, retired = to_start(desired, present), to_retire(desired, present)
    assert (present | set(started)) - set(retired) == set(desired)
    assert not set(started) & present
    assert set(retired) <= present
    leaving = {node.node_id for node in after if node.draining}
    assert not leaving & set(desired.values())


STATES = ("DEPENDENCIES_UNREADY", "PENDING_CREATION", ALIVE, "RESTARTING", "DEAD", None)
states_strategy = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(STATES))


@given(serving=st.sets(st.sampled_from("abcdef")), states=states_strategy)
def test_questions_go_to_all_that_serve_and_live_and_to_nobody_else(
    serving: set[str], states: dict[str, str | None]
) -> None:
    published = to_publish(serving, states)
    assert published == sorted(set(published)), "who compares lists must see changes only"
    assert set(published) <= serving
    doubted = {name for name in serving if states.get(name) not in (ALIVE, None)}
    assert set(published) == serving - doubted
    assert set(to_publish(serving, {**states, **dict.fromkeys(doubted, ALIVE)})) == serving


@given(serving=st.sets(st.sampled_from("abcdef")), states=states_strategy)
def test_a_lost_replica_changes_nothing_for_the_others(
    serving: set[str], states: dict[str, str | None]
) -> None:
    for lost in serving:
        after = to_publish(serving, {**states, lost: "RESTARTING"})
        assert after == [name for name in to_publish(serving, states) if name != lost]
