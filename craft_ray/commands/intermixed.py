"""Settings between and behind options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class IntermixedParser(argparse.ArgumentParser):
    """Takes settings also behind options, as in `check SRC --labels oracle.precision=fp32`, which
    argparse does not do where there are commands below a command. They are the argument
    `settings`."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse does it, but that the words which are left over are settings."""
        options, others = super().parse_known_args(args, namespace)
        if not hasattr(options, "settings"):
            return options, others
        options.settings += [word for word in others if not word.startswith("-")]
        return options, [word for word in others if word.startswith("-")]
