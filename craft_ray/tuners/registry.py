"""From settings to a trainer."""

from __future__ import annotations

from craft_ray.config.heads import FeaturesHeadConfig, ResidualMlpConfig
from craft_ray.config.optimizers import TextConfig
from craft_ray.config.run import RunConfig
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.task.prepared import PreparedTask
from craft_ray.tuners.base import Trainer
from craft_ray.tuners.craft import CollaborativeTrainer
from craft_ray.tuners.features import FeaturesTrainer
from craft_ray.tuners.probes import ProbingTrainer
from craft_ray.tuners.searched_probes import ProbeSearchTrainer
from craft_ray.tuners.text_prompt import TextPromptTrainer
from craft_ray.tuners.untouched import UntouchedTrainer
from craft_ray.tuners.white_box import WhiteBoxTrainer


def make_trainer(oracle: MeteredOracle, prepared: PreparedTask, config: RunConfig) -> Trainer:
    """The trainer of `config.method`.

    Raises:
        OracleError: features are asked of an oracle that gives none.
    """
    if not prepared.has_training:
        return UntouchedTrainer(oracle, prepared, config)
    if config.method == "white_box":
        return WhiteBoxTrainer(oracle, prepared, config)
    if config.method == "prompt" and isinstance(config.optimizer, TextConfig):
        return TextPromptTrainer(oracle, prepared, config, config.optimizer)
    if isinstance(config.head, ResidualMlpConfig):
        return CollaborativeTrainer(oracle, prepared, config, config.head)
    if isinstance(config.head, FeaturesHeadConfig):
        return FeaturesTrainer(oracle, prepared, config, config.head)
    if config.method == "both":
        return ProbeSearchTrainer(oracle, prepared, config, config.head)
    return ProbingTrainer(oracle, prepared, config, config.head)
