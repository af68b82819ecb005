"""Where the cells of a reproduction keep what they have."""

from __future__ import annotations

from craft_ray.files.remote import Place
from craft_ray.reproduction.grid import Cell


def cell_folder(grid: Place, cell: Cell) -> Place:
    """Of a cell's result, and while it runs of its states, in the folder of the reproduction."""
    return grid / "cells" / cell.id


WORKER_FOLDER = "worker"
"""In a cell's folder: of its fine-tuning."""


def worker_folder(grid: Place, cell: Cell) -> Place:
    """Of a cell's fine-tuning."""
    return cell_folder(grid, cell) / WORKER_FOLDER
