"""What a user types to look at runs."""

from __future__ import annotations

from pathlib import Path

from craft_ray.config.sections import MlflowConfig
from craft_ray.tracking.mlflow_tracker import ui_command


def test_it_names_what_is_not_the_default() -> None:
    folder = Path("/a folder/runs")
    for config, command in (
        (MlflowConfig(), "craft-ray ui --output-dir '/a folder/runs'"),
        (
            MlflowConfig(tracking_uri="sqlite:////else/where.db", experiment="mine"),
            "craft-ray ui --tracking-uri sqlite:////else/where.db --experiment mine",
        ),
        (MlflowConfig(tracking_uri="http://127.0.0.1:5000"), None),
        (MlflowConfig(enabled=False), None),
    ):
        assert ui_command(config, folder) == command
