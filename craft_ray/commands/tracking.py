"""`python -m craft_ray.tracking OUTPUT_DIR`: send what MLflow has missed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from craft_ray.commands.common import exit_with, path_argument
from craft_ray.config.secrets import mask
from craft_ray.errors import ConfigError, RunFailedError


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="craft-ray tracking",
        description="Send what a tracking server has missed while it was away. A run that starts "
        "with the same output folder and tracking address does the same.",
    )
    parser.add_argument("output_dir", type=path_argument, help="the output_dir of the runs")
    parser.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="send everything there (default: each to the address that it was meant for)",
    )
    options = parser.parse_args(arguments)
    return exit_with(lambda: _send(options.output_dir, options.tracking_uri))


def _send(output_dir: Path, uri: str | None) -> None:
    if not output_dir.is_dir():
        raise ConfigError("output_dir", [f"must be a folder, but got {output_dir}"])
    from craft_ray.tracking.base import RefusedError, first_line
    from craft_ray.tracking.sender import MlflowSender
    from craft_ray.tracking.spool import abandoned_spools

    num_sent, problems = 0, []
    for spool in abandoned_spools(output_dir):
        try:
            sender = MlflowSender(uri or spool.address, output_dir)
            sender.connect(spool.experiment)
            while (entry := spool.first()) is not None:
                try:
                    sender.send(entry, spool)
                except RefusedError as error:
                    if spool.refuse(entry, str(error)):
                        problems.append(f"refused, and kept in {spool.path}: {error}")
                    continue
                spool.remove(entry)
                num_sent += len(entry.ids)
        # A backend raises what it likes; the other spools may belong to another address.
        except Exception as error:
            problems.append(f"{spool.count()} entries stay in {spool.path}: {first_line(error)}")
        finally:
            spool.close()
    print(f"{num_sent} entries sent.")
    if problems:
        raise RunFailedError(mask("\n  ".join(["", *problems])))
