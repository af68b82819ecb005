"""What a process loads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection


def loaded_by(program: str) -> frozenset[str]:
    """Names of all modules in a fresh process after `program`."""
    code = f"{program}\nimport sys; print('\\n' + ' '.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return frozenset(result.stdout.splitlines()[-1].split())


def found_among(loaded: Collection[str], names: Collection[str]) -> set[str]:
    """Which of the packages or modules `names` were loaded, themselves or in part."""
    return {
        name
        for name in names
        if any(module == name or module.startswith(f"{name}.") for module in loaded)
    }
