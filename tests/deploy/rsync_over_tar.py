"""`rsync` as Ray calls it to send files, where there is none: tar at both ends of the same `ssh`.

It sends everything each time, and only in the direction that `ray up` needs.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """`rsync --rsh SSH -avz [--exclude PATTERN]... SOURCE USER@HOST:TARGET`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rsh", required=True)
    parser.add_argument("-avz", action="store_true", required=True)
    parser.add_argument("--exclude", action="append", default=[])
    parser.add_argument("source")
    parser.add_argument("target")
    options = parser.parse_args()
    host, target = options.target.split(":", 1)
    ssh = [*shlex.split(options.rsh), host]
    if options.source.endswith("/"):
        excludes = [f"--exclude={pattern.rstrip('/')}" for pattern in options.exclude]
        command = ["tar", "-C", options.source, "-cz", *excludes, "."]
        receive = f"mkdir -p {target} && tar -C {target} -xz"
    else:
        command = ["cat", options.source]
        mode = Path(options.source).stat().st_mode & 0o777
        receive = f"umask 077 && cat > {target} && chmod {mode:o} {target}"
    with subprocess.Popen(command, stdout=subprocess.PIPE) as sender:
        received = subprocess.run([*ssh, receive], stdin=sender.stdout, check=False)
    return received.returncode or sender.returncode


if __name__ == "__main__":
    sys.exit(main())
