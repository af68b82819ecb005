"""The oracle and the data set that ship with craft-ray, and the scripts that built them.

Importing this module is cheap: it needs neither torch nor open_clip.
"""

from __future__ import annotations

from pathlib import Path

_ZOO = Path(__file__).resolve().parent

EMBEDDED_ORACLE: Path = _ZOO / "embedded_oracle"
"""Folder that open_clip loads as `local-dir:<folder>`; `MODEL_CARD.md` tells how it was made."""

EMBEDDED_DATASET: Path = _ZOO / "fashion_mnist"
"""Folder with `train.parquet`, `val.parquet` and `test.parquet`; see `DATA_CARD.md`."""
