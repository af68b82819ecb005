"""Texts of each class beside its prompt under the template, for a better offset of a head.

They are asked as they are (`ClassificationTask.prompts`), in the same predictions as the names. The
mean of a class's logits is one more zero-shot classifier; as a mean of columns it is a linear map
of what the head sees, so that nothing else changes in a stored classifier.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from craft_ray.config.heads import PROMPTS_PER_CLASS
from craft_ray.config.run import RunConfig
from craft_ray.data.descriptions import Sentences
from craft_ray.errors import OracleError
from craft_ray.light_imports import module_alone
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ClassificationTask, FloatArray
from craft_ray.oracle.contract_laws import words_of
from craft_ray.task.visible_words import visible_words

_WAFFLE_STREAM = 41
"""Independent of the run's other random streams."""
WORDS_OF_SENTENCE = 2
LETTERS = (4, 8)
"""Fewest and, less one, most of a made-up word."""


@dataclass(frozen=True)
class ClassPrompts:
    """What is asked of each class, as whole texts.

    Attributes:
        of_classes: the texts of each class.
        with_template: whether the prompt under the template counts like one of them.
    """

    of_classes: Sentences
    with_template: bool

    @property
    def texts(self) -> tuple[str, ...]:
        """All, those of the first class first."""
        return tuple(text for own in self.of_classes for text in own)

    @property
    def most(self) -> int:
        """The most prompts whose mean is taken for a class."""
        return max(map(len, self.of_classes), default=0) + self.with_template

    def mean_map(self, num_names: int) -> FloatArray:
        """[F, C]: from the logits of C classes, of further names and of the texts to the mean of
        each class.

        Args:
            num_names: further names.
        """
        num_classes = len(self.of_classes)
        first = num_classes + num_names
        mean_FC = np.zeros((first + len(self.texts), num_classes), dtype=np.float32)
        for place, own in enumerate(self.of_classes):
            share = 1.0 / (len(own) + self.with_template)
            mean_FC[first : first + len(own), place] = share
            mean_FC[place, place] = share * self.with_template
            first += len(own)
        return mean_FC


def class_prompts(
    config: RunConfig,
    class_names: Sequence[str],
    template: str,
    descriptions: Mapping[str, Sentences],
) -> ClassPrompts | None:
    """What the run's head asks of each class; None: nothing but its prompt under the template.

    Args:
        config: of the run.
        class_names: of the task.
        template: around them.
        descriptions: sentences of the files that heads name.
    """
    head = config.probing_head
    if head is None or not head.asks_prompts:
        return None
    if (file := head.descriptions_file) is not None:
        return ClassPrompts(descriptions[file], with_template=False)
    templates = _hand_crafted() if head.offset == "ensemble" else _waffle(template, config.seed)
    assert len(templates) == PROMPTS_PER_CLASS[head.offset]
    names = [words_of(name) for name in class_names]
    of_classes = tuple(tuple(each.replace("{}", name) for each in templates) for name in names)
    return ClassPrompts(of_classes, with_template=True)


def _hand_crafted() -> tuple[str, ...]:
    """The seven that CLIP's authors found to be nearly as good as their eighty."""
    made = module_alone("open_clip", "zero_shot_metadata").SIMPLE_IMAGENET_TEMPLATES
    return tuple(make("{}") for make in made)


def _waffle(template: str, seed: int) -> tuple[str, ...]:
    """The template with words, and with letters, that mean nothing: the same for all classes (Roth
    et al., "Waffling around for performance", ICCV 2023)."""
    random = np.random.default_rng(np.random.SeedSequence([seed, _WAFFLE_STREAM]))
    known = visible_words()

    def word(place: int) -> str:
        if place % 2 == 0:
            return known[random.integers(len(known))]
        return "".join(random.choice(list(string.ascii_lowercase), random.integers(*LETTERS)))

    sentence = template.rstrip(" .")
    return tuple(
        f"{sentence}, which has {', '.join(word(place) for _ in range(WORDS_OF_SENTENCE))}."
        for place in range(PROMPTS_PER_CLASS["waffle"])
    )


def check_prompts_fit(
    task: ClassificationTask, prompts: ClassPrompts, config: RunConfig, oracle: MeteredOracle
) -> None:
    """Register a task with the texts of an offset, so that a mistake in them costs nothing.

    Raises:
        OracleError: with the class and the setting: a text is too long for the model, or the oracle
            asks about names only.
    """
    head = config.probing_head
    assert head is not None
    try:
        whole = replace(task, prompts=prompts.texts)
        handle = oracle.register_task(whole)
        if handle.num_classes != whole.num_texts:
            raise OracleError(
                f"the oracle must ask about the {len(whole.prompts)} texts of "
                "ClassificationTask.prompts, but passes over them"
            )
    except OracleError as error:
        told = str(error)
        of_classes = zip(task.class_names, prompts.of_classes, strict=True)
        found = (name for name, own in of_classes if any(repr(text[:60]) in told for text in own))
        whose = next((f"class {name[:60]!r}: " for name in found), "")
        remedy = (
            f"; shorten it in {head.descriptions_file}"
            if head.descriptions_file
            else "; head.offset=template asks no such text"
        )
        raise OracleError(f"head.offset: {whose}{told}{remedy}") from error
