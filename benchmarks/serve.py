"""What a service costs beside the pool behind it, how it shares, and whether it holds.

    python -m benchmarks.serve share           # HTTP beside a ViT-B/32 population of 40 x 10
    python -m benchmarks.serve clients         # 1 to 64 callers, over HTTP and at the pool directly
    python -m benchmarks.serve fairness        # a key with little to ask beside one with much
    python -m benchmarks.serve soak --minutes 10
    python -m benchmarks.serve restart         # callers go on while the service is started again

The service is the real one, in processes of its own on this machine, and so are its clients' CPUs:
what HTTP costs both sides is counted. Sides take turns in one run.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray

from benchmarks.record import commit, write_result
from benchmarks.service_load import (
    Client,
    Service,
    latencies,
    percentile_ms,
    running_service,
    start_service,
)
from benchmarks.text_work import CIFAR10
from craft_ray.config.loading import load_default_run
from craft_ray.config.oracle import PoolConfig
from craft_ray.environment import set_environment
from craft_ray.oracle.contract import ClassificationTask, FloatArray
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.attached import offered_name
from craft_ray.pool.client import PoolOracle
from craft_ray.pool.lifecycle import NAMESPACE
from craft_ray.task.few_shot_data import sample_data

TASK = ClassificationTask(CIFAR10)
PORT = 8177
WORDS = ("pool.replicas=1", "pool.threads_per_replica=1", "tuning.enabled=false")
"""One replica, so that both sides ask the same one; the other core is for clients and HTTP."""


def files_of(number: int) -> list[bytes]:
    """Images of the embedded data set."""
    data = sample_data(load_default_run(["data.shots=16"]))
    return [item.read() for item in itertools.islice(data.dataset.splits["test"], number)]


def contexts_of(start: FloatArray, number: int, seed: int = 0) -> FloatArray:
    """Around the template's."""
    noise = np.random.default_rng(seed).normal(size=(number, *start.shape))
    moved: FloatArray = (start + 0.02 * noise).astype(np.float32)
    return moved


class Direct:
    """The pool of the service, asked without HTTP."""

    def __init__(self, files: Sequence[bytes]) -> None:
        from craft_ray.data.dataset import Item
        from craft_ray.data.pixels import plain_pixels

        self.address = PoolAddress(NAMESPACE, offered_name("service"))
        self.config = PoolConfig()
        first = self.client()
        transform = first.describe().transform
        pixels = plain_pixels([Item(file, 0, "") for file in files], transform)
        self.task = first.register_task(TASK)
        self.images = first.register_images(pixels)

    def client(self) -> PoolOracle:
        """One for each caller."""
        return PoolOracle(self.address, self.config)


def connect(service: Service) -> None:
    """To the Ray that the service has started on this machine, whatever others there are."""
    set_environment()
    ray.init(
        address=service.ray_address(),
        namespace=NAMESPACE,
        log_to_driver=False,
        logging_level="ERROR",
    )


def share(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """HTTP's part of a population's seconds."""
    import open_clip
    import torch

    torch.manual_seed(0)  # speed does not depend on the weights
    weights = folder / "weights.pt"
    torch.save(open_clip.create_model("ViT-B-32").state_dict(), weights)
    words = (*WORDS, "oracle.model=ViT-B-32", f"oracle.pretrained={weights}")
    files, rows = files_of(16), []
    with running_service(folder, PORT, *words) as service:
        connect(service)
        direct, client = Direct(files), Client(service.url)
        pool = direct.client()
        digests = client.register(TASK, files)
        start = direct.task.initial_context
        for turn in range(options.turns + 1):
            contexts = contexts_of(start, 40, turn)
            row: dict[str, float] = {}
            answers = {}
            for side, ask in (
                ("pool", partial(pool.predict, direct.task, direct.images, contexts)),
                ("http", partial(client.predict, TASK, digests, contexts)),
            ):
                cpu_s, own_s, began_s = service.cpu_s(), time.process_time(), time.monotonic()
                answers[side] = ask()
                row[f"{side}_s"] = round(time.monotonic() - began_s, 4)
                cpu_s = service.cpu_s() - cpu_s + time.process_time() - own_s
                row[f"{side}_cpu_s"] = round(cpu_s, 3)
            assert np.array_equal(answers["pool"], answers["http"])
            rows.append(row)
        ray.shutdown()
    rows = rows[1:]  # images are encoded in the first
    wall, cpu = (
        statistics.median(row[f"http_{unit}"] / row[f"pool_{unit}"] - 1 for row in rows)
        for unit in ("s", "cpu_s")
    )
    return {"http_share_of_seconds": round(wall, 4), "of_cpu_seconds": round(cpu, 4), "rows": rows}


def clients(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Requests of one candidate on one image, and of ten on sixteen."""
    files, rows = files_of(16), []
    with running_service(folder, PORT, *WORDS) as service:
        connect(service)
        direct = Direct(files)
        digests = Client(service.url).register(TASK, files)
        start = direct.task.initial_context
        for (num_candidates, num_images), number in itertools.product(
            ((1, 1), (10, 16)), options.clients
        ):
            contexts = contexts_of(start, num_candidates)
            images = direct.images.part(range(num_images))

            callers = {
                "pool": [
                    _silent(partial(direct.client().predict, direct.task, images, contexts))
                    for _ in range(number)
                ],
                "http": [
                    _silent(
                        partial(Client(service.url).predict, TASK, digests[:num_images], contexts)
                    )
                    for _ in range(number)
                ],
            }
            for side, asks in callers.items():
                for ask in asks:
                    ask()
                cpu_s, own_s = service.cpu_s(), time.process_time()
                taken, seconds = latencies(asks, options.seconds)
                cpu_s = service.cpu_s() - cpu_s + time.process_time() - own_s
                all_s = [each for one in taken for each in one]
                rows.append(
                    {
                        "side": side,
                        "clients": number,
                        "candidates": num_candidates,
                        "images": num_images,
                        "requests_per_s": round(len(all_s) / seconds, 2),
                        "candidates_per_s": round(num_candidates * len(all_s) / seconds, 1),
                        "p50_ms": percentile_ms(all_s, 0.5),
                        "p99_ms": percentile_ms(all_s, 0.99),
                        "cpu_ms_per_request": round(1000 * cpu_s / len(all_s), 1),
                    }
                )
                print(rows[-1], flush=True)
        ray.shutdown()
    return {"rows": rows}


def _silent(ask: Callable[[], Any]) -> Callable[[], None]:
    def asked() -> None:
        ask()

    return asked


def fairness(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The p99 of a light key alone, and beside eight callers of a heavy one."""
    from tests.service.meter.world import add_key

    keys = folder / "keys.db"
    folder.mkdir(exist_ok=True)
    tokens = {name: add_key(keys, name)[1] for name in ("light", "heavy")}
    files = files_of(160)
    with running_service(folder, PORT, *WORDS, f"keys={keys}") as service:
        light, heavy = (Client(service.url, tokens[name]) for name in ("light", "heavy"))
        few, many = light.register(TASK, files[:1]), heavy.register(TASK, files)
        described, _ = unpacked(light)
        start = described["initial_context"]
        one, population = contexts_of(start, 1), contexts_of(start, 40)
        chunk = contexts_of(start, 10)
        light.predict(TASK, few, one)
        heavy.predict(TASK, many, chunk)

        def ask_light() -> None:
            light.predict(TASK, few, one)
            time.sleep(0.05)

        chunks = latencies(
            [_silent(partial(heavy.predict, TASK, many, chunk))], options.seconds / 3
        )
        alone, _ = latencies([ask_light], options.seconds)
        callers = [Client(service.url, tokens["heavy"]) for _ in range(8)]
        asks = [_silent(partial(caller.predict, TASK, many, population)) for caller in callers]
        beside, _ = latencies([ask_light, *asks], options.seconds)
    chunk_ms = percentile_ms(chunks[0][0], 0.5)
    alone_ms, beside_ms = (
        percentile_ms([each - 0.05 for each in found], 0.99) for found in (alone[0], beside[0])
    )
    return {
        "chunk_ms": chunk_ms,
        "light_p50_alone_ms": percentile_ms([each - 0.05 for each in alone[0]], 0.5),
        "light_p50_beside_ms": percentile_ms([each - 0.05 for each in beside[0]], 0.5),
        "light_p99_alone_ms": alone_ms,
        "light_p99_beside_ms": beside_ms,
        "aim_ms": round(2 * alone_ms + chunk_ms, 1),
        "light_requests": [len(alone[0]), len(beside[0])],
        "heavy_requests": sum(map(len, beside[1:])),
    }


def unpacked(client: Client) -> Any:
    """The declaration."""
    from craft_ray.oracle.endpoints.tensor_body import unpack

    return unpack(client.send("GET", "/v1/describe", b"", "application/json").content)


def soak(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Memory of each process under full load, with new tasks and images all the time."""
    files = files_of(1000)
    with running_service(folder, PORT, *WORDS) as service:
        first = Client(service.url)
        first.register(TASK, files[:16])
        start = unpacked(first)[0]["initial_context"]
        numbers = itertools.count()
        seen: list[dict[str, Any]] = []
        asked = itertools.count()

        def caller() -> Callable[[], None]:
            client = Client(service.url)

            def ask() -> None:
                number = next(numbers)
                names = (*TASK.class_names[:9], f"thing {number}")
                task = ClassificationTask(names)
                at = 16 * number % 960
                digests = client.register(task, files[at : at + 16])
                client.predict(task, digests, contexts_of(start, 10, number))
                next(asked)

            return ask

        ended = threading.Event()

        def watch() -> None:
            began_s = time.monotonic()
            while not ended.wait(10):
                memory = service.resident_mb()
                seen.append({"s": round(time.monotonic() - began_s), **memory})

        watcher = threading.Thread(target=watch)
        watcher.start()
        latencies([caller() for _ in range(options.callers)], 60 * options.minutes)
        ended.set()
        watcher.join()
        usage = first.send("GET", "/v1/usage", b"", "application/json").json()
    later = seen[len(seen) // 3 :]
    half = len(later) // 2
    growth = {
        kind: round(
            statistics.mean(row[kind] for row in later[half:])
            - statistics.mean(row[kind] for row in later[:half]),
            1,
        )
        for kind in later[0]
        if kind != "s"
    }
    return {
        "minutes": options.minutes,
        "questions": next(asked),
        "pairs": usage["pairs"],
        "mb_of_the_last_third_beside_the_second": growth,
        "rows": seen[:: max(1, len(seen) // 12)],
    }


def restart(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The service is ended and started again under callers; every answer must come, once."""
    files = files_of(16)
    service = start_service(folder, PORT, *WORDS)
    try:
        first = Client(service.url)
        digests = first.register(TASK, files)
        start = unpacked(first)[0]["initial_context"]
        contexts = [contexts_of(start, 10, seed) for seed in range(options.questions)]
        wanted = [first.predict(TASK, digests, each) for each in contexts]
        callers = [Client(service.url) for _ in range(4)]
        answers: dict[int, Any] = {}
        left = iter(range(options.questions))
        lock = threading.Lock()

        def work(caller: Client) -> None:
            while True:
                with lock:
                    number = next(left, None)
                if number is None:
                    return
                answers[number] = caller.predict(TASK, digests, contexts[number], f"q-{number}")
                time.sleep(0.2)

        before = first.send("GET", "/v1/usage", b"", "application/json").json()["pairs"]
        threads = [threading.Thread(target=work, args=(caller,)) for caller in callers]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        began_s = time.monotonic()
        service.interrupt()
        service = start_service(folder, PORT, *WORDS)
        away_s = time.monotonic() - began_s
        for thread in threads:
            thread.join()
        after = first.send("GET", "/v1/usage", b"", "application/json").json()["pairs"]
    finally:
        service.interrupt()
    equal = sum(np.array_equal(answers[row], wanted[row]) for row in range(options.questions))
    return {
        "questions": options.questions,
        "equal_answers": equal,
        "pairs_charged": after - before,
        "pairs_asked": options.questions * 10 * 16 * 10,
        "repeated_requests": sum(len(caller.retries) for caller in callers),
        "away_s": round(away_s, 1),
    }


PARTS = {part.__name__: part for part in (share, clients, fairness, soak, restart)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a part and store it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--questions", type=int, default=120)
    options = parser.parse_args(arguments)
    commit_id = commit()
    with tempfile.TemporaryDirectory() as folder:
        result = PARTS[options.part](options, Path(folder))
    print({key: value for key, value in result.items() if key != "rows"})
    print(write_result(f"serve_{options.part}", commit_id, result, module="serve"))


if __name__ == "__main__":
    main()
