"""Whoever registers more and more takes no more memory: bounds of numbers and of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from craft_ray.config.oracle import OracleConfig
from craft_ray.oracle import clip as clip_module
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import ClassificationTask, TaskHandle
from craft_ray.oracle.text import encoder
from craft_ray.pool import registry as registry_module
from craft_ray.pool.registry import Registry, size_of_task
from craft_ray.service import asking
from craft_ray.service.asking import Asker
from tests.support.fake_oracle import FakeOracle


def task(number: int, names: int = 1) -> ClassificationTask:
    return ClassificationTask(tuple(f"class {number} {name}" for name in range(names)))


def handle(of: ClassificationTask) -> TaskHandle:
    return TaskHandle(of.digest, of.num_texts, np.zeros((1, 2), np.float32))


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "TASKS_OF_A_DRIVER", 8)
    monkeypatch.setattr(registry_module, "TASK_BYTES_OF_A_DRIVER", 40 * size_of_task(task(0)))
    monkeypatch.setattr(asking, "TASKS", 4)
    monkeypatch.setattr(asking, "TASK_BYTES", 20 * size_of_task(task(0)))
    monkeypatch.setattr(clip_module, "MOST_TEXTS", 50)


@pytest.mark.usefixtures("bounded")
def test_a_pool_remembers_so_many_tasks_and_so_many_bytes() -> None:
    registry = Registry()
    for number in range(20):
        registry.add_task(task(number), handle(task(number)), "driver")
        assert registry.size()[0] <= 8
    assert registry.task(task(19).digest) is not None
    assert registry.task(task(0).digest) is None
    large = [task(number, names=30) for number in range(100, 110)]
    for each in large:
        registry.add_task(each, handle(each), "driver")
        registry.add_task(each, handle(each), "driver")  # as after a lost reply
        assert sum(size_of_task(known) for known in _tasks_of(registry)) <= 50 * size_of_task(
            task(0)
        )
        assert registry.task(each.digest) is not None
    huge = task(1000, names=1000)
    registry.add_task(huge, handle(huge), "driver")
    assert _tasks_of(registry) == [huge]


def _tasks_of(registry: Registry) -> list[ClassificationTask]:
    return [known for known, _ in registry._tasks.values()]


class Pool(FakeOracle):
    """Knows what its registry knows."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        known = self.registry.task(task.digest, "driver")
        if known is None:
            self.registry.add_task(task, super().register_task(task), "driver")
        return super().register_task(task)


@pytest.mark.usefixtures("bounded")
def test_a_task_in_use_is_never_forgotten_by_the_pool(asker_of: Any) -> None:
    pool = Pool()
    asker: Asker = asker_of(pool)
    used = task(-1)
    for number in range(40):
        asker.task("ada", used).result(10)
        assert pool.registry.task(used.digest) is not None
        asker.task("bob", task(number, names=1 + number % 7)).result(10)


@pytest.fixture
def asker_of() -> Iterator[Any]:
    askers: list[Asker] = []

    def make(oracle: Any) -> Asker:
        askers.append(Asker(lambda: oracle, lambda _: True, 10, 1))
        return askers[-1]

    yield make
    for asker in askers:
        asker.close()


@pytest.mark.usefixtures("bounded")
def test_a_model_remembers_so_many_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "MOST_WORDS", 20)
    oracle = ClipOracle.load(OracleConfig())
    words: dict[str, str] = oracle._loaded.tokenizer.cache
    own = {word for word, parts in words.items() if word == parts}
    tasks = [task(number, names=20) for number in range(6)]
    tasks += [ClassificationTask(("cat",), prompts=tuple(f"dog {n}" for n in range(30)))]
    for each in tasks:
        oracle.register_task(each)
    assert not oracle.knows(tasks[0].digest)
    assert oracle.knows(tasks[-1].digest)
    assert oracle._num_texts <= 51
    odd = ClassificationTask(tuple(f"w{chr(97 + n)}xyz" for n in range(26)))
    oracle.register_task(odd)
    oracle.register_task(task(7))
    assert len(words) <= 40 + len(own)
    assert own <= set(words)  # else the end of a text would be split
