"""Checkpoints of models, of which none may run code, and tasks that do not fit one."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from craft_ray.config.oracle import OracleConfig
from craft_ray.oracle.check import check_model_exists
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import ClassificationTask
from tests.bad_input.case import Attempt, Case
from tests.support.checkpoints import (
    CONFIG_FILE,
    TINY_CLIP,
    WEIGHTS_FILE,
    openai_weights,
    tiny_clip_dir,
    tiny_weights,
    write_config,
)

NAME = "tiny-by-name"
"""Among open_clip's own models, see conftest."""
FULL_SIZE = "ViT-S-32-alt"


class Executed:
    """Unpickled, it leaves a file in the working folder."""

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, ("executed", "w")


def load(config: dict[str, str]) -> Attempt:
    """What a command and then a replica do with the settings of a model."""
    settings = OracleConfig.model_validate(config)

    def attempt() -> None:
        check_model_exists(settings)
        ClipOracle.load(settings)

    return attempt


def full_weights() -> dict[str, torch.Tensor]:
    """Of the tiny model, in single precision."""
    return {name: value.float() for name, value in tiny_weights().items()}


def checkpoint(write: Callable[[Path], object], model: str = NAME) -> Callable[[Path], Attempt]:
    """A checkpoint file for one of open_clip's own models."""

    def prepare(folder: Path) -> Attempt:
        write(folder / "w.pt")
        return load({"model": model, "pretrained": str(folder / "w.pt")})

    return prepare


def model_folder(spoil: Callable[[Path], object]) -> Callable[[Path], Attempt]:
    """A folder with a tiny model, to which something is done."""

    def prepare(folder: Path) -> Attempt:
        model = tiny_clip_dir(folder / "model")
        spoil(model)
        return load({"model": f"local-dir:{model}"})

    return prepare


def archive_with_code(path: Path) -> None:
    """`torch.save`'s own layout, with a pickle that calls a function."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", pickle.dumps({"weight": Executed()}, protocol=2))
        archive.writestr("w/version", "3\n")
        archive.writestr("w/byteorder", "little")


def openai_archive_with_code(path: Path) -> None:
    """The same, with the names of OpenAI's numbers, which makes us read the file ourselves."""
    document = {**openai_weights({}), "weight": Executed()}
    stream = io.BytesIO()
    torch.save(openai_weights({}), stream)
    with zipfile.ZipFile(stream) as whole, zipfile.ZipFile(path, "w") as archive:
        for name in whole.namelist():
            data = whole.read(name)
            if name.endswith("/data.pkl"):
                data = pickle.dumps({key: Executed() for key in document}, protocol=2)
            archive.writestr(name, data)


def change_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        weights = {name: value.clone() for name, value in load_file(folder / WEIGHTS_FILE).items()}
        change(weights)
        save_file(weights, folder / WEIGHTS_FILE)

    return spoil


def pickle_as_weights(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()
    (folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps({"a": Executed()}))


def task_of(class_name: str, template: str = "a photo of a {}.") -> Callable[[Path], Attempt]:
    """A class name or template that the model has no room or word for."""

    def prepare(folder: Path) -> Attempt:
        oracle = ClipOracle.load(OracleConfig(model=f"local-dir:{tiny_clip_dir(folder / 'model')}"))
        return lambda: oracle.register_task(ClassificationTask(("cat", class_name), template))

    return prepare


def other_size(folder: Path) -> None:
    write_config(folder, {**TINY_CLIP, "embed_dim": 16})


UNLOADABLE = rf"oracle: {NAME} with \S*w\.pt cannot be loaded: "
BROKEN_FOLDER = r"oracle: local-dir:\S*/model cannot be loaded: "

MODELS = [
    Case(
        "unknown name",
        lambda folder: load({"model": "ViT-Q-1", "pretrained": "x"}),
        r"oracle\.model: must be .*'ViT-Q-1'",
    ),
    Case(
        "unknown tag",
        lambda folder: load({"model": NAME, "pretrained": "x"}),
        r"oracle\.pretrained: must be a file or one of .*'x'",
    ),
    Case(
        "a tag of too many letters",
        lambda folder: load({"model": NAME, "pretrained": "x" * 5000}),
        r"oracle\.pretrained: must be a file or one of .*'xxx",
    ),
    Case(
        "a folder of too many letters",
        lambda folder: load({"model": "local-dir:" + "x" * 5000}),
        r"oracle\.model: .* must be a folder with open_clip_config\.json",
    ),
    Case("no bytes", checkpoint(lambda path: path.write_bytes(b"")), UNLOADABLE),
    Case("text", checkpoint(lambda path: path.write_bytes(b"no pickle")), UNLOADABLE),
    Case(
        "a broken archive", checkpoint(lambda path: path.write_bytes(b"PK\x03\x04 no")), UNLOADABLE
    ),
    Case("a folder", checkpoint(Path.mkdir), r"oracle\.pretrained: must be a file .* is a folder"),
    Case("a tensor", checkpoint(lambda path: torch.save(torch.zeros(3), path)), UNLOADABLE),
    Case("nothing within", checkpoint(lambda path: torch.save({}, path)), UNLOADABLE),
    Case(
        "another architecture",
        checkpoint(lambda path: torch.save(full_weights(), path), FULL_SIZE),
        rf"oracle: {FULL_SIZE} with \S*w\.pt cannot be loaded: .*missing .*of another shape",
    ),
    Case(
        "a pickle with code",
        checkpoint(lambda path: path.write_bytes(pickle.dumps(Executed()))),
        UNLOADABLE + r".*only weights are read",
    ),
    Case(
        "an archive with code",
        checkpoint(archive_with_code),
        UNLOADABLE + r".*only weights are read",
    ),
    Case(
        "code under OpenAI's names",
        checkpoint(openai_archive_with_code, "RN50-quickgelu"),
        r"RN50-quickgelu with \S*w\.pt cannot be loaded: .*only weights are read",
    ),
    Case(
        "a folder with code",
        model_folder(pickle_as_weights),
        BROKEN_FOLDER + r".*only weights are read",
    ),
    Case(
        "truncated",
        model_folder(
            lambda f: (f / WEIGHTS_FILE).write_bytes((f / WEIGHTS_FILE).read_bytes()[:-9])
        ),
        BROKEN_FOLDER,
    ),
    Case(
        "no weights",
        model_folder(lambda f: (f / WEIGHTS_FILE).unlink()),
        r"oracle.model: \S*/model must have one file of weights",
    ),
    Case(
        "a description of another size",
        model_folder(other_size),
        BROKEN_FOLDER + r".*of another shape",
    ),
    Case(
        "a description that is no JSON",
        model_folder(lambda f: (f / CONFIG_FILE).write_text("{")),
        BROKEN_FOLDER,
    ),
    Case(
        "a description of deep nesting",
        model_folder(lambda f: (f / CONFIG_FILE).write_text("[" * 100_000)),
        BROKEN_FOLDER,
    ),
    Case(
        "a part is missing",
        model_folder(change_weights(lambda w: w.pop("ln_final.weight"))),
        BROKEN_FOLDER + r".*ln_final\.weight",
    ),
    Case(
        "NaN weights",
        model_folder(change_weights(lambda w: w["ln_final.weight"].fill_(torch.nan))),
        r"oracle: weights of local-dir:\S*/model must be finite, but ln_final\.weight is not",
    ),
    Case(
        "a scale that overflows",
        model_folder(change_weights(lambda w: w["logit_scale"].fill_(1e4))),
        r"oracle: .*logit_scale.* must be finite",
    ),
    Case(
        "a class name of 400 tokens",
        task_of("a " * 400),
        r"class 'a a .*: its prompt must have at most 24 tokens, but has 4\d\d",
    ),
    Case(
        "a template that swallows the class name",
        task_of("cat", "a photo of a{}."),
        r"template: the word before \{\} must not grow together with a class name",
    ),
]
