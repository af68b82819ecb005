"""The catalogue is open_clip's own, whether its package is loaded or not."""

from __future__ import annotations

import subprocess
import sys

import open_clip

from craft_ray.oracle.catalogue import (
    all_published_weights,
    architectures,
    published_weights,
    tags_of,
)
from craft_ray.task.vocabulary import draw_names


def test_architectures_are_those_of_open_clip() -> None:
    assert sorted(architectures()) == sorted(open_clip.list_models())
    for name, architecture in architectures().items():
        assert architecture == open_clip.get_model_config(name)


def test_published_weights_are_those_of_open_clip() -> None:
    pairs = open_clip.list_pretrained()
    assert list(all_published_weights()) == [open_clip.get_pretrained_cfg(*pair) for pair in pairs]
    assert tags_of("RN50") == open_clip.list_pretrained_tags_by_model("RN50")
    assert published_weights("RN50", "OpenAI") == open_clip.get_pretrained_cfg("RN50", "openai")
    assert published_weights("RN50", "nobody") is None


def test_a_process_that_has_not_loaded_open_clip_sees_the_same() -> None:
    question = (
        "from craft_ray.oracle.catalogue import all_published_weights, architectures\n"
        "from craft_ray.task.vocabulary import draw_names\n"
        "print(list(all_published_weights()), architectures(), draw_names((), 5, (), 1))\n"
        "import sys; assert not {'open_clip', 'torch', 'huggingface_hub'} & set(sys.modules)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", question], capture_output=True, text=True, check=True
    )
    published, names = list(all_published_weights()), draw_names((), 5, (), 1)
    assert answer.stdout.strip() == f"{published} {architectures()} {names}"
