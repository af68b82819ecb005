"""Hosts on this machine: network and PID namespaces, joined by a bridge, reached over SSH.

The laptop is the outer namespace, and holds the bridge; the hosts are inside it. Nothing in them
can reach anything else, and when the laptop's first process ends, all others end with it. Home and
Ray's temporary folder are each host's own; all other files are this machine's, which stands for a
shared file system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .project import ROOT

HERE = Path(__file__).resolve().parent
PROGRAMS = ("curl", "ip", "mount", "nsenter", "setpriv", "ssh", "tar", "unshare")
COMMAND_TIMEOUT_S = 300
USER = "root"  # in the namespaces, whoever we are outside
LAPTOP_IP = "10.77.0.1"
# The first process of a PID namespace must take in the orphans, which bash does. SSH asks passwd
# for its user's home, whatever HOME is, and Ray's temporary folder has one path on all nodes.
INIT = (
    "mount --bind {folder}/passwd /etc/passwd; mount --bind {folder}/tmp {folder}/../tmp;"
    " echo ready; {work} & wait"
)
UNSHARE = ("unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child")
AS_ROOT = () if os.geteuid() == 0 else ("--user", "--map-root-user")


def why_impossible() -> str | None:
    """The reason why this machine cannot have hosts; None if it can."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"needs the programs {', '.join(missing)}"
    probe = (
        "mount --bind /etc/passwd /etc/passwd && ip link add bridge type bridge"
        " && ip link add end type veth peer name other"
    )
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
        done = subprocess.run(
            self.inside(["timeout", str(COMMAND_TIMEOUT_S), *command]),
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)} on {self.name}:\n{done.stdout}"
        return done.stdout

    def processes(self) -> list[str]:
        """The command lines of all its processes but the first, its SSH server, and the shell of
        Ray's port forward: that notices its dead connection only when it has something to say.
        """
        lines = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(folder / "ns/pid") == os.readlink(f"/proc/{self.pid}/ns/pid"):
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    lines.append(b" ".join(words).decode().strip())
            except OSError:
                continue  # ended while we looked
        ours = (str(HERE / "ssh_server.py"), "/passwd /etc/passwd; ", "sleep 86400")
        return [line for line in lines if line and not any(text in line for text in ours)]


@dataclass(frozen=True)
class Network:
    """The laptop and the hosts by name."""

    laptop: Host
    hosts: Mapping[str, Host]
    key: Path
    """Private; opens all hosts."""

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
        import asyncssh  # half a second that only those who start hosts should wait

        pair = asyncssh.generate_private_key("ssh-ed25519")
        pair.write_private_key(str(path))
        pair.write_public_key(f"{path}.pub")
        path.chmod(0o600)
    command = ("setpriv", "--pdeathsig", "KILL", UNSHARE[0], *AS_ROOT, *UNSHARE[1:])
    laptop = _make("laptop", LAPTOP_IP, folder)
    with ExitStack() as stack:
        first = _start_init(stack, command, "sleep infinity", laptop)
        laptop = replace(laptop, pid=_child(first.pid))
        for words in (
            "link set lo up",
            "link add bridge type bridge",
            f"addr add {LAPTOP_IP}/24 dev bridge",
            "link set bridge up",
        ):
            laptop.run("ip", *words.split())
        hosts = {
            name: _start_host(stack, laptop, name, f"10.77.0.{number}", folder)
            for number, name in enumerate(names, 2)
        }
        yield Network(laptop, hosts, key)


def _start_host(stack: ExitStack, laptop: Host, name: str, ip: str, folder: Path) -> Host:
    host = _make(name, ip, folder)
    server = [sys.executable, str(HERE / "ssh_server.py"), f"{folder}/server_key"]
    wait_for_link = "until ip link show eth0 > /dev/null 2>&1; do sleep 0.1; done"
    # Without a default route Ray would take 127.0.0.1 for the host's address.
    work = (
        f"{{ {wait_for_link}; ip link set lo up; ip addr add {ip}/24 dev eth0; ip link set eth0 up;"
        f" ip route add default via {LAPTOP_IP};"
        f" exec {' '.join(server)} {folder}/key.pub 2> {folder / name}/ssh.log; }}"
    )
    process = _start_init(stack, laptop.inside(UNSHARE), work, host)
    host = replace(host, pid=_child(_child(process.pid)))
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


def _make(name: str, ip: str, folder: Path) -> Host:
    """A host that does not run yet."""
    place = folder / name
    for part in ("home", "tmp"):
        (place / part).mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    (place / "home" / ".bashrc").touch()
    (place / "passwd").write_text(f"{USER}:x:0:0::{place}/home:/bin/bash\n")
    environment = {
        "HOME": f"{place}/home",
        "RAY_TMPDIR": f"{folder}/tmp",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "USER": USER,
    }
    if shutil.which("rsync") is None:
        substitute = folder / "bin" / "rsync"
        substitute.parent.mkdir(exist_ok=True)
        substitute.write_text(
            f'#!/bin/sh\nexec {sys.executable} {HERE / "rsync_over_tar.py"} "$@"\n'
        )
        substitute.chmod(0o755)
        environment["PATH"] = f"{substitute.parent}:{environment['PATH']}"
    return Host(name, ip, 0, place, environment)


def _start_init(
    stack: ExitStack, command: Sequence[str], work: str, host: Host
) -> subprocess.Popen[bytes]:
    """Start the first process of new namespaces and wait until it runs; `stack` ends it."""
    process = subprocess.Popen(
        [*command, "bash", "-c", INIT.format(folder=host.folder, work=work)],
        env=dict(host.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    stack.enter_context(process)
    stack.callback(process.kill)
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
