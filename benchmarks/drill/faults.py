"""What is broken, and what is needed to break it. All of it is real, and of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar, Self

import psutil
from mlflow.tracking import MlflowClient
from ray.cluster_utils import Cluster

from benchmarks.product import TIMEOUT_S, Command
from craft_ray.environment import set_environment
from craft_ray.zoo import EMBEDDED_ORACLE
from tests.support.mlflow_server import MlflowServer, runs_of

MIB = 2**20


class Fault:
    """Breaks something; a context manager for what it needs around the command.

    Attributes:
        module: the command that is hit.
        words: what the command is told besides the drill's settings.
        directory: where the command is started.
    """

    module: ClassVar[str] = "train"

    def __init__(self) -> None:
        self.words: list[str] = []
        self.directory = Path()

    def enter(self, directory: Path) -> Self:
        """Prepare; `directory` is this drill's own."""
        self.directory = directory
        return self

    def leave(self) -> None:
        """End what `enter` has started."""

    def strike(self, command: Command) -> None:
        """Break it, while the command runs."""
        raise NotImplementedError  # each fault is one

    def repair(self, command: Command) -> None:
        """What a user does before `--resume`."""

    def after(self, command: Command) -> None:
        """What is looked at besides the result, when all has ended.

        Raises:
            RuntimeError: it is not as it should be.
        """


class Kill(Fault):
    """SIGKILL to processes of Ray whose title begins with `title`."""

    def __init__(self, title: str, at_most: int | None = None) -> None:
        super().__init__()
        self._title = title
        self._at_most = at_most

    def strike(self, command: Command) -> None:
        victims = command.processes(self._title)[: self._at_most]
        if not victims:
            raise RuntimeError(f"{command.name}: there is no process ray::{self._title}")
        for victim in victims:
            victim.send_signal(signal.SIGKILL)


class KillTrial(Kill):
    """SIGKILL to the process of a Tune trial, which waits for its job."""

    module = "tune"

    def __init__(self) -> None:
        super().__init__("ResourceTrainable")  # Tune's name for it, while it waits


class Hang(Fault):
    """SIGSTOP to a replica, and after a while SIGCONT: it comes back."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def strike(self, command: Command) -> None:
        victim = command.processes("OracleReplica")[0]
        victim.suspend()
        time.sleep(self._seconds)
        if victim.is_running():
            victim.resume()


class SignalDriver(Fault):
    """A signal to the command, or to it and all that it has started; it must then end."""

    def __init__(self, number: signal.Signals, *, whole_group: bool) -> None:
        super().__init__()
        self._number = number
        self._whole_group = whole_group

    def strike(self, command: Command) -> None:
        (os.killpg if self._whole_group else os.kill)(command.process.pid, self._number)
        command.process.wait(TIMEOUT_S)


class OtherKernels(SignalDriver):
    """The driver is killed, and the run goes on with the matrix kernels of another family of
    processors, as it would on another machine."""

    KERNELS = "OPENBLAS_CORETYPE"

    def __init__(self) -> None:
        super().__init__(signal.SIGKILL, whole_group=True)

    def repair(self, command: Command) -> None:
        os.environ[self.KERNELS] = "Prescott"

    def leave(self) -> None:
        os.environ.pop(self.KERNELS, None)


class FailingReload(Kill):
    """All replicas are killed, and the model is not where it was for a while."""

    def __init__(self, seconds: float) -> None:
        super().__init__("OracleReplica")
        self._seconds = seconds

    def enter(self, directory: Path) -> Self:
        self._model = directory / "model"
        shutil.copytree(EMBEDDED_ORACLE, self._model)
        self.words = [f"oracle.model=local-dir:{self._model}"]
        return super().enter(directory)

    def strike(self, command: Command) -> None:
        away = self._model.rename(self._model.with_name("away"))
        super().strike(command)
        time.sleep(self._seconds)
        away.rename(self._model)


class SlowEncoding(Fault):
    """Nothing is broken, but the first answer about images takes longer than a chunk may."""

    def enter(self, directory: Path) -> Self:
        self.words = ["pool.chunk_timeout_s=0.5"]
        return super().enter(directory)

    def strike(self, command: Command) -> None:
        """It has been all the time."""


class FullDisk(Fault):
    """A file system of its own that is filled to its last byte; for `--resume`, it is emptied.

    Needs the right to mount.
    """

    def enter(self, directory: Path) -> Self:
        options = ["-t", "tmpfs", "-o", f"size={128 * MIB}"]
        subprocess.run(["mount", *options, "tmpfs", str(directory)], check=True)
        return super().enter(directory)

    def leave(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.directory)], check=True)

    @property
    def _ballast(self) -> Path:
        return self.directory / "ballast"

    def strike(self, command: Command) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"0" * 4096)
            except OSError:  # full
                pass
        if command.process.wait(TIMEOUT_S) != 1:
            raise RuntimeError(f"{command.name}: must fail, but {command.process.returncode}")

    def repair(self, command: Command) -> None:
        self._ballast.unlink()


class FullDiskOfSearch(FullDisk):
    """The same under a search."""

    module = "tune"


class LostNode(Fault):
    """One node of a cluster of three, with a replica on it, is gone at once."""

    def enter(self, directory: Path) -> Self:
        set_environment()
        bounds = {"object_store_memory": 100 * MIB}
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": True, **bounds},
        )
        self._nodes = [self._cluster.add_node(num_cpus=2, **bounds) for _ in range(2)]
        self.words = [f"ray.address={self._cluster.address}"]
        return super().enter(directory)

    def leave(self) -> None:
        self._cluster.shutdown()

    def strike(self, command: Command) -> None:
        node = next((node for node in self._nodes if _has_a_replica(node)), None)
        if node is None:
            raise RuntimeError(f"{command.name}: no node has a replica")
        self._cluster.remove_node(node, allow_graceful=False)


class SecondDriver(Fault):
    """Somebody types `--resume` in a second terminal while the run goes on."""

    def strike(self, command: Command) -> None:
        second = subprocess.run(
            [*_words_of(command), "--resume"], cwd=self.directory, capture_output=True, text=True
        )
        if second.returncode != 2 or "is being worked on by process" not in second.stderr:
            raise RuntimeError(f"{command.name}: must refuse a second driver: {second}")


class SameName(Fault):
    """Somebody else's run of the same name, with another seed, on the same cluster."""

    def enter(self, directory: Path) -> Self:
        set_environment()
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 4, "object_store_memory": 200 * MIB},
        )
        self.words = [f"ray.address={self._cluster.address}"]
        return super().enter(directory)

    def leave(self) -> None:
        self._cluster.shutdown()

    def strike(self, command: Command) -> None:
        theirs = self.directory / "theirs"
        theirs.mkdir()
        words = [*_words_of(command), "seed=2"]
        log = (theirs / "log").open("w")
        self._other = subprocess.Popen(words, cwd=theirs, stdout=log, stderr=subprocess.STDOUT)

    def after(self, command: Command) -> None:
        """The other run has come to its end as well."""
        if self._other.wait(TIMEOUT_S) != 0:
            log = (self.directory / "theirs" / "log").read_text()
            raise RuntimeError(f"{command.name}: the other run has failed: {log}")


class DeadTracker(Fault):
    """MLflow's server is killed, and comes back when the run has ended."""

    def enter(self, directory: Path) -> Self:
        self._server = MlflowServer(directory)
        self._server.start()
        self.words = ["mlflow.enabled=true", f"mlflow.tracking_uri={self._server.uri}"]
        return super().enter(directory)

    def leave(self) -> None:
        self._server.kill()

    def strike(self, command: Command) -> None:
        self._server.kill()

    def after(self, command: Command) -> None:
        """What the server has missed is sent, and nothing is missing."""
        self._server.start()
        words = [sys.executable, "-m", "craft_ray.tracking", "runs"]
        subprocess.run(words, cwd=self.directory, check=True, capture_output=True)
        client = MlflowClient(tracking_uri=self._server.uri)
        (run,) = runs_of(self._server.uri)
        if run.info.status != "FINISHED":
            raise RuntimeError(f"{command.name}: MLflow must have a finished run, but has {run}")
        steps = [m.step for m in client.get_metric_history(run.info.run_id, "fitness_best")]
        if steps != list(range(1, len(steps) + 1)) or not steps:
            raise RuntimeError(f"{command.name}: MLflow must have every generation, but {steps}")


def _words_of(command: Command) -> list[str]:
    words = command.process.args
    assert isinstance(words, list)
    return [str(word) for word in words]


def _has_a_replica(node: Any) -> bool:
    (raylet,) = [process for kind, process in node.live_processes() if kind == "raylet"]
    children = psutil.Process(raylet.pid).children()
    return any(" ".join(child.cmdline()).startswith("ray::OracleReplica") for child in children)
