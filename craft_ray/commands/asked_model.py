"""What `predict` and `evaluate` share: which classifier, and the model that it asks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from craft_ray.commands.common import add_output_dir, positive
from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.loading import load_oracle_config
from craft_ray.config.money import money
from craft_ray.errors import ConfigError, DataError

if TYPE_CHECKING:
    from craft_ray.classifiers.artifact import Artifact
    from craft_ray.config.oracle import AnyOracleConfig
    from craft_ray.files.remote import Place
    from craft_ray.inference.predictor import Predictor

NAMED_AT_MOST = 20

FIRST_LINE = "Looking at the classifier and the images ..."


@dataclass(frozen=True)
class Asked:
    """A classifier that was named, and how its model is loaded.

    Attributes:
        name: of its run, or of its folder.
        artifact: the classifier.
        config: of its model.
        output_dir: where runs are; answers of an endpoint are kept beside them.
        run_folder: of the run that made it; None: the classifier lies alone.
    """

    name: str
    artifact: Artifact
    config: AnyOracleConfig
    output_dir: Path = Path("runs")
    run_folder: Place | None = None


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What says which classifier, and how to load its model."""
    parser.add_argument(
        "run",
        metavar="RUN",
        help="name of a run, its folder or address, a model in MLflow (runs:/ID, "
        "models:/NAME@champion), or `latest`: the newest run with a classifier",
    )
    add_output_dir(parser)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="oracle.KEY=VALUE",
        help="another setting of the model than the run had, such as oracle.precision=fp32 or "
        "oracle.pretrained=/path/to/weights.pt; its weights must be the same",
    )
    parser.add_argument(
        "--replicas",
        type=positive,
        metavar="N",
        help="ask N copies of the model at a time, on a Ray that is started for it or the cluster "
        "of RAY_ADDRESS (default: one copy in this process)",
    )
    parser.add_argument(
        "--price",
        type=_price,
        metavar="PRICE",
        help="of 1,000 predictions, in any currency (default: the run's)",
    )


def _price(text: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = -1.0
    if not 0 <= price < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, but got {text!r}")
    return price


def find_asked(options: argparse.Namespace) -> Asked:
    """The classifier that was named.

    Raises:
        UserError: there is none, or a setting of its model breaks a law.
    """
    from craft_ray.classifiers.artifact import RESULT_FOLDER, Artifact
    from craft_ray.files.remote import locate
    from craft_ray.inference.runs import find_classifier

    folder = find_classifier(options.run, locate(options.output_dir))
    artifact = Artifact.load(folder)
    config = load_oracle_config(artifact.oracle, options.set)
    about = artifact.about
    name = folder.parent.name if folder.name == RESULT_FOLDER else folder.name
    place = Path(options.output_dir) if "://" not in options.output_dir else Path("runs")
    run = folder.parent if folder.name == RESULT_FOLDER else None
    return Asked(about.run if about and about.run else name, artifact, config, place, run)


@contextmanager
def open_predictor(asked: Asked, replicas: int | None) -> Iterator[Predictor]:
    """The classifier with its model loaded, in this process or in replicas on Ray.

    Raises:
        UserError: the model cannot be loaded, or is another one.
    """
    from craft_ray.inference.predictor import Predictor
    from craft_ray.oracle.remote.listening import nobody_listens

    if isinstance(asked.config, EndpointConfig):
        note(f"Asking {asked.config.model or 'the model'} at {asked.config.url} ...")
        if (warning := nobody_listens(asked.config)) is not None:
            note(warning)
    else:
        note(f"Loading {asked.config.model} ...")
    if replicas is None:
        predictor = Predictor.load(asked.artifact, asked.config, asked.output_dir)
        _warn(predictor, asked.config)
        yield predictor
        if predictor.bill is not None:
            note(f"The endpoint was asked for {predictor.bill}.")
        return
    with _replicas(asked, replicas) as predictor:
        _warn(predictor, asked.config)
        yield predictor


@contextmanager
def _replicas(asked: Asked, number: int) -> Iterator[Predictor]:
    from craft_ray.config.oracle import PoolConfig
    from craft_ray.config.sections import RayConfig
    from craft_ray.inference.predictor import Predictor, check_is_here
    from craft_ray.jobs.ray_session import ray_session
    from craft_ray.pool.client import PoolOracle
    from craft_ray.pool.cluster import cluster_nodes
    from craft_ray.pool.lifecycle import ClipFactory, running_pool
    from craft_ray.pool.membership import decide_size

    if isinstance(asked.config, EndpointConfig):
        problem = "must not be given for a model behind an endpoint, which one gate asks"
        raise ConfigError("--replicas", [f"{problem}, but got {number}"])
    check_is_here(asked.config)
    config = PoolConfig(replicas=number)
    with ray_session(RayConfig()):
        size = decide_size(config, cluster_nodes())
        factory = ClipFactory(asked.config, size.device, size.threads_per_replica)
        with running_pool("predict", factory, config, size) as pool:
            clients = [PoolOracle(pool.address, config) for _ in range(number)]
            yield Predictor(asked.artifact, *clients)


def _warn(predictor: Predictor, config: AnyOracleConfig) -> None:
    if not predictor.is_as_tuned and isinstance(config, EndpointConfig):
        note(
            f"warning: the classifier was tuned at another address than {config.url}: if the model "
            "there is not the same, its labels mean nothing; craft-ray evaluate tells"
        )
    elif not predictor.is_as_tuned:
        note(
            "warning: the model computes in another precision than the classifier was tuned with: "
            "labels can differ a little; craft-ray evaluate tells on labelled images"
        )


def price_line(asked: Asked, price: float | None, num_images: int) -> str:
    """What so many images cost, in words.

    Args:
        asked: the classifier.
        price: of 1,000 predictions; None: the run's, if it had one.
        num_images: that will be asked about.
    """
    each = asked.artifact.classifier.predictions_per_image
    if price is None and asked.artifact.about is not None:
        price = asked.artifact.about.price_per_thousand_predictions
    total = num_images * each
    text = f"{counted(num_images, 'image')} x {counted(each, 'prediction')}"
    if price is None:
        return f"{text}: {counted(total, 'prediction')}"
    return f"{text}: costs {money(total / 1000 * price)}, at {price:g} for 1,000 predictions"


def counted(number: int, word: str) -> str:
    """So many, with the word in its number."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def note(text: str) -> None:
    """A line beside the output."""
    print(text, file=sys.stderr, flush=True)


def tell_unreadable(unreadable: Sequence[str], num_readable: int) -> None:
    """Name images that were passed over.

    Raises:
        DataError: there was no other.
    """
    for reason in unreadable[:NAMED_AT_MOST]:
        note(f"not read: {reason}")
    if len(unreadable) > NAMED_AT_MOST:
        note(f"not read: {len(unreadable) - NAMED_AT_MOST:,} more")
    if not num_readable:
        law = "one image must be readable at least"
        raise DataError(f"{law}, but of {counted(len(unreadable), 'image')} none could be read")
