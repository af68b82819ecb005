"""What a shell says of a command, which is not run."""

from __future__ import annotations

import subprocess


def shell_error(command: str, shell: str = "bash") -> str | None:
    """What the shell says of a command that it cannot parse; None if it can."""
    done = subprocess.run(
        [shell, "-n"], input=command, capture_output=True, text=True, check=False, timeout=30
    )
    return None if done.returncode == 0 else done.stderr.strip()
