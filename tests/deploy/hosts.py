"""Hosts on this machine: network and PID namespaces, joined by a bridge, reached over SSH.

The laptop is the outer namespace, and holds the bridge; the hosts are inside it. Nothing in them can
reach anything else, and when the laptop's first process ends, all others end with it. Home and Ray's
temporary folder are each host's own; all other files are this machine's, which stands for a shared
file system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

import asyncssh

from .project import ROOT

HERE = Path(__file__).resolve().parent
PROGRAMS = ("curl", "ip", "nsenter", "setpriv", "ssh", "tar", "unshare")
LAPTOP_IP = "10.77.0.1"
# The first process of a PID namespace must take in the orphans, which bash does.
INIT = "echo ready; {work} & wait"
UNSHARE = ("unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child")
AS_ROOT = () if os.geteuid() == 0 else ("--user", "--map-root-user")


def why_impossible() -> str | None:
    """The reason why this machine cannot have hosts; None if it can."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"needs the programs {', '.join(missing)}"
    probe = "ip link add bridge type bridge && ip link add end type veth peer name other"
    command = [*UNSHARE[:1], *AS_ROOT, *UNSHARE[1:], "sh", "-c", probe]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        return f"needs namespaces and network devices in them: {done.stderr.strip()}"
    return None


@dataclass(frozen=True)
class Host:
    """One of them. `pid` is that of its first process, as this machine counts."""

    name: str
    ip: str
    pid: int
    folder: Path
    environment: Mapping[str, str]

    @property
    def home(self) -> Path:
        """Its user's."""
        return self.folder / "home"

    def inside(self, command: Sequence[str]) -> list[str]:
        """`command`, to be run by us in its namespaces, from the root of the checkout."""
        user = ("--user", "--preserve-credentials") if AS_ROOT else ()
        target = ("--target", str(self.pid), "--net", "--pid", "--mount")
        return ["nsenter", *target, *user, f"--wd={ROOT}", "--", *command]

    def start(self, *command: str, output: int | None = None) -> subprocess.Popen[str]:
        """Run a command there."""
        return subprocess.Popen(
            self.inside(command),
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            text=True,
        )

    def run(self, *command: str) -> str:
        """Run a command there to its end; returns what it printed."""
        process = self.start(*command, output=subprocess.PIPE)
        printed, _ = process.communicate()
        assert process.returncode == 0, f"{' '.join(command)} on {self.name}:\n{printed}"
        return printed

    def processes(self) -> list[str]:
        """The command lines of all its processes but the first and its SSH server."""
        lines = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(folder / "ns/pid") == os.readlink(f"/proc/{self.pid}/ns/pid"):
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    lines.append(b" ".join(words).decode().strip())
            except OSError:
                continue  # ended while we looked
        ours = (str(HERE / "ssh_server.py"), INIT.split(";")[0])
        return [line for line in lines if line and not any(text in line for text in ours)]


@dataclass(frozen=True)
class Network:
    """The laptop and the hosts by name."""

    laptop: Host
    hosts: Mapping[str, Host]
    key: Path
    """Private; opens all hosts for this process's user."""

    def cut_off(self, name: str) -> None:
        """Pull the host's cable."""
        self.laptop.run("ip", "link", "set", name, "down")

    def reconnect(self, name: str) -> None:
        """Plug it in again."""
        self.laptop.run("ip", "link", "set", name, "up")


@contextmanager
def hosts_on_this_machine(folder: Path, names: Sequence[str]) -> Iterator[Network]:
    """Start laptop and hosts; end all that runs on them afterwards.

    Args:
        folder: an empty one with a short path: Ray's sockets lie below it.
        names: of the hosts.
    """
    key, server_key = (folder / name for name in ("key", "server_key"))
    for path in (key, server_key):
        pair = asyncssh.generate_private_key("ssh-ed25519")
        pair.write_private_key(str(path))
        pair.write_public_key(f"{path}.pub")
        path.chmod(0o600)
    command = ("setpriv", "--pdeathsig", "KILL", UNSHARE[0], *AS_ROOT, *UNSHARE[1:])
    first = _start_init([*command], "sleep infinity", None)
    try:
        laptop = _host("laptop", LAPTOP_IP, _child(first.pid), folder)
        for words in (
            "link set lo up",
            "link add bridge type bridge",
            f"addr add {LAPTOP_IP}/24 dev bridge",
            "link set bridge up",
        ):
            laptop.run("ip", *words.split())
        hosts = {
            name: _start_host(laptop, name, f"10.77.0.{number}", folder)
            for number, name in enumerate(names, 2)
        }
        yield Network(laptop, hosts, key)
    finally:
        first.kill()
        first.wait()


def _start_host(laptop: Host, name: str, ip: str, folder: Path) -> Host:
    environment = _host(name, ip, 0, folder).environment
    server = [sys.executable, str(HERE / "ssh_server.py"), f"{folder}/server_key"]
    wait_for_link = "until ip link show eth0 > /dev/null 2>&1; do sleep 0.1; done"
    # Without a default route Ray would take 127.0.0.1 for the host's address.
    work = (
        f"{{ {wait_for_link}; ip link set lo up; ip addr add {ip}/24 dev eth0; ip link set eth0 up;"
        f" ip route add default via {LAPTOP_IP};"
        f" exec {' '.join(server)} {folder}/key.pub 2> {folder / name}/ssh.log; }}"
    )
    process = _start_init(laptop.inside(UNSHARE), work, environment)
    host = _host(name, ip, _child(_child(process.pid)), folder)
    for words in (
        f"link add {name} type veth peer name peer",
        f"link set {name} master bridge up",
    ):
        laptop.run("ip", *words.split())
    # By a process of this machine's PID namespace, in which the host's number is known.
    move = ["ip", "link", "set", "peer", "netns", str(host.pid), "name", "eth0"]
    here = [word for word in laptop.inside(move) if word != "--pid"]
    subprocess.run(here, check=True)
    return host


def _host(name: str, ip: str, pid: int, folder: Path) -> Host:
    place = folder / name
    for part in ("home", "tmp"):
        (place / part).mkdir(parents=True, exist_ok=True)
    (place / "home" / ".bashrc").touch()
    environment = {
        "HOME": f"{place}/home",
        "RAY_TMPDIR": f"{place}/tmp",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "USER": getuser(),
    }
    if shutil.which("rsync") is None:
        substitute = folder / "bin" / "rsync"
        substitute.parent.mkdir(exist_ok=True)
        substitute.write_text(
            f"#!/bin/sh\nexec {sys.executable} {HERE / 'rsync_over_tar.py'} \"$@\"\n"
        )
        substitute.chmod(0o755)
        environment["PATH"] = f"{substitute.parent}:{environment['PATH']}"
    return Host(name, ip, pid, place, environment)


def _start_init(
    command: Sequence[str], work: str, environment: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    """Start the first process of new namespaces, and wait until it runs in them."""
    process = subprocess.Popen(
        [*command, "bash", "-c", INIT.format(work=work)],
        env=None if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def _child(pid: int) -> int:
    deadline = time.monotonic() + 10
    path = Path(f"/proc/{pid}/task/{pid}/children")
    while time.monotonic() < deadline:
        if children := path.read_text().split():
            return int(children[0])
        time.sleep(0.01)
    raise TimeoutError(f"process {pid} has started nothing")
