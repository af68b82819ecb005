"""What a module loads."""

from __future__ import annotations

import subprocess
import sys


def imported_by(*modules: str) -> set[str]:
    """Top-level packages in a fresh process after importing `modules`."""
    code = f"import sys, {', '.join(modules)}\nprint(*{{m.split('.')[0] for m in sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())
