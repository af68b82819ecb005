"""craft-ray: distributed collaborative fine-tuning of black-box vision-language models.

    from craft_ray import CraftClassifier, train, tune

Each of them loads what it needs when it is used: `import craft_ray` loads nothing.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from craft_ray.api.results import TrainResult, TuneResult
    from craft_ray.config.given import Changes, GivenRun, GivenSpace
    from craft_ray.estimator.classifier import CraftClassifier

__all__ = ["CraftClassifier", "__version__", "train", "tune"]
__version__ = "0.1.0"


def tune(
    config: GivenSpace = None,
    settings: Changes = None,
    *,
    resume: bool = False,
    progress: bool = True,
) -> TuneResult:
    """Search the hyperparameters of a fine-tuning, as `craft-ray tune` does.

        result = craft_ray.tune("tune_spaces/own_images.yaml", {"data.source.root": "/images"})
        print(result.test.accuracy, result.best.params, result.spent.candidate_queries)
        labels = result.classifier().predict(["a.jpg"])

    `craft_ray.tune` is this function, also after `import craft_ray.tune`; the module of this name
    is what `python -m craft_ray.tune` starts.

    Args:
        config: a search space: the path of a YAML file, a mapping of what such a file holds, or a
            `SpaceConfig`. None: the default space.
        settings: `section.key` -> value, which come after it: `{"trials": 4, "data.shots": 8}`.
        resume: continue a run that was cut short: the one of `settings["name"]`, or the newest.
        progress: print as the command does.

    Raises:
        UserError: names the setting, file or image, the law and the value; nothing was started.
        RunFailedError: no trial has come to a result.
        RunInterruptedError: Ctrl-C; `resume=True` continues.
    """
    from craft_ray.api import calls

    return calls.tune(config, settings, resume=resume, progress=progress)


def train(
    config: GivenRun = None,
    settings: Changes = None,
    *,
    resume: bool = False,
    progress: bool = True,
) -> TrainResult:
    """One fine-tuning without a search, as `craft-ray train` does it.

        result = craft_ray.train({"seed": 2, "data": {"shots": 4}})

    Args:
        config: the path of a YAML file of a run's settings, a mapping of what such a file holds, or
            a `RunConfig`. None: probes, the default.
        settings: `section.key` -> value, which come after it: `{"data.shots": 8}`.
        resume: continue a run that was cut short: the one of `settings["name"]`, or the newest.
        progress: print as the command does.

    Raises:
        UserError: names the setting, file or image, the law and the value; nothing was started.
        RunFailedError: the worker has failed; `resume=True` continues.
        KeyboardInterrupt: Ctrl-C; `resume=True` continues.
    """
    from craft_ray.api import calls

    return calls.train(config, settings, resume=resume, progress=progress)


def __getattr__(name: str) -> Any:
    """`from craft_ray import CraftClassifier` loads torch; `import craft_ray` does not."""
    if name == "CraftClassifier":
        from craft_ray.estimator.classifier import CraftClassifier

        return CraftClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Package(ModuleType):
    """Keeps the functions `tune` and `train` where Python would put the modules of these names:
    they are the doors of `python -m craft_ray.tune`, and importing one binds it here."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in ("tune", "train") and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
