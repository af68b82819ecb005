"""An SSH server for the tests: what sshd does, from a package that pip installs.

Runs as a process of its own, in the namespaces of the host that it makes reachable:
`python ssh_server.py HOST_KEY AUTHORIZED_KEYS`. Sessions get the environment of this process, and
start in its HOME.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import termios
from contextlib import suppress
from typing import Any

import asyncssh

DRAIN_S = 0.2


class Server(asyncssh.SSHServer):
    """Forwards ports, as sshd does by default."""

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        return True


def take_terminal() -> None:
    """In the child: standard input becomes the terminal that controls the new session, so that a
    connection that ends sends SIGHUP to what was started in it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


async def copy_output(source: asyncio.StreamReader, sink: Any) -> None:
    """Until the source ends; a terminal that nobody holds any more says so with an error."""
    with suppress(OSError):
        while output := await source.read(2**16):
            sink.write(output)


async def serve(process: Any) -> None:
    """One session: a command, with a terminal if the client asked for one."""
    command = ["bash", "-c", process.command] if process.command else ["bash", "--login"]
    run = run_in_terminal if process.get_terminal_type() is not None else run_in_pipes
    child, everything = await run(process, command)
    left = asyncio.ensure_future(process.wait_closed())
    await asyncio.wait([everything, left], return_when=asyncio.FIRST_COMPLETED)
    if not everything.done():
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGHUP)
    process.exit(max(await child.wait(), 0))


async def run_in_terminal(
    process: Any, command: list[str]
) -> tuple[asyncio.subprocess.Process, asyncio.Future[Any]]:
    """The child, and what is done when it has ended and its output has been sent."""
    outside, inside = os.openpty()
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(inside)
    await process.redirect(stdin=os.dup(outside))
    terminal = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(terminal), os.fdopen(outside, "rb", 0)
    )

    async def run() -> None:
        copied = asyncio.ensure_future(copy_output(terminal, process.stdout))
        await child.wait()
        # Daemons may hold the terminal for ever; like sshd, take what has been written and go.
        await asyncio.wait([copied], timeout=DRAIN_S)
        transport.close()

    return child, asyncio.ensure_future(run())


async def run_in_pipes(
    process: Any, command: list[str]
) -> tuple[asyncio.subprocess.Process, asyncio.Future[Any]]:
    """The child, and what is done when it has ended and its output has been sent."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    assert child.stdout is not None
    assert child.stderr is not None
    await process.redirect(stdin=child.stdin)
    return child, asyncio.gather(
        copy_output(child.stdout, process.stdout),
        copy_output(child.stderr, process.stderr),
        child.wait(),
    )


async def main(host_key: str, authorized_keys: str) -> None:
    """Listen on the port of SSH, on all addresses of this host."""
    os.chdir(os.environ["HOME"])
    await asyncssh.create_server(
        Server,
        "",
        22,
        server_host_keys=[host_key],
        authorized_client_keys=authorized_keys,
        process_factory=serve,
        encoding=None,
        line_editor=False,
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
