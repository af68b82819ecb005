"""The phrases that the text tower learns, and the prompts they are put into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from open_clip import IMAGENET_CLASSNAMES, SimpleTokenizer

from craft_ray.zoo.recipe.wordnet import WordNet

MAIN_TEMPLATE = "a photo of a {}."
SINGULAR_TEMPLATES = (
    "{}",
    "a {}",
    "a photo of the {}.",
    "a photo of one {}.",
    "a photo of my {}.",
    "a picture of a {}.",
    "an image of a {}.",
    "a good photo of a {}.",
    "a bad photo of a {}.",
    "a blurry photo of a {}.",
    "a close-up photo of a {}.",
    "a cropped photo of the {}.",
    "a low resolution photo of a {}.",
    "a black and white photo of a {}.",
    "a drawing of a {}.",
    "a {} on a white background.",
    "this is a photo of a {}.",
    "a photo of a {}, centered.",
)
PLURAL_TEMPLATES = ("{}", "a photo of {}.", "a photo of two {}.", "a picture of many {}.")

MAIN_SHARE = 0.25
PLURAL_SHARE = 0.15
"""Shares of all prompts; the other templates divide the rest evenly."""

FAMILIAR_WEIGHT = 8.0
"""How much more often than others a noun is drawn that occurs in WordNet's tagged texts."""

COMPOUND_TOPICS = ("animal", "artifact", "body", "food", "substance")
NUM_COMPOUNDS = 20_000


@dataclass(frozen=True)
class Phrase:
    """A noun or a compound, with the WordNet meaning of its head."""

    singular: str
    plural: str
    offset: int
    weight: float
    """Relative frequency within its list."""


def imagenet_phrases(wordnet: WordNet) -> list[Phrase]:
    """open_clip's curated names of ImageNet's classes, in class order."""
    return [
        Phrase(name, wordnet.plural(name), offset, 1.0)
        for name, offset in zip(IMAGENET_CLASSNAMES, wordnet.imagenet_offsets, strict=True)
    ]


def wordnet_phrases(wordnet: WordNet, seed: int) -> list[Phrase]:
    """All visible nouns, then random compounds of familiar ones.

    Compounds ("kitchen boat") teach that the last word of an unseen phrase is its head.
    """
    nouns = wordnet.visible_nouns()
    phrases = [
        Phrase(
            noun,
            wordnet.plural(noun),
            offset,
            FAMILIAR_WEIGHT if noun in wordnet.familiar else 1.0,
        )
        for noun, offset in nouns.items()
    ]
    words = [
        phrase
        for phrase in phrases
        if phrase.singular in wordnet.familiar
        and " " not in phrase.singular
        and wordnet.topic(phrase.offset) in COMPOUND_TOPICS
    ]
    rng = np.random.default_rng(seed)
    for first, last in rng.integers(len(words), size=(NUM_COMPOUNDS, 2)):
        modifier, head = words[first], words[last]
        singular = f"{modifier.singular} {head.singular}"
        if singular not in nouns:
            plural = f"{modifier.singular} {head.plural}"
            phrases.append(Phrase(singular, plural, head.offset, 1.0))
    return phrases


class PromptWriter:
    """Puts phrases into random templates, as token ids.

    CLIP's byte pairs never cross a blank, so that the tokens of a prompt are those of its parts.
    """

    def __init__(self, tokenizer: SimpleTokenizer, phrases: list[Phrase]) -> None:
        self._start: list[int] = [tokenizer.sot_token_id]
        self._end: list[int] = [tokenizer.eot_token_id]
        self._singular: list[list[int]] = [tokenizer.encode(phrase.singular) for phrase in phrases]
        self._plural: list[list[int]] = [tokenizer.encode(phrase.plural) for phrase in phrases]
        self._templates: dict[str, list[list[int]]] = {
            template: [tokenizer.encode(part) for part in template.split("{}")]
            for template in (MAIN_TEMPLATE, *SINGULAR_TEMPLATES, *PLURAL_TEMPLATES)
        }

    def write(self, row: int, rng: np.random.Generator) -> list[int]:
        """Token ids of a random prompt with phrase `row`, [SOS] to [EOS]."""
        choice = rng.random()
        words = self._singular[row]
        if choice < MAIN_SHARE:
            template = MAIN_TEMPLATE
        elif choice < MAIN_SHARE + PLURAL_SHARE:
            template = PLURAL_TEMPLATES[rng.integers(len(PLURAL_TEMPLATES))]
            words = self._plural[row]
        else:
            template = SINGULAR_TEMPLATES[rng.integers(len(SINGULAR_TEMPLATES))]
        before, after = self._templates[template]
        return self._start + before + words + after + self._end
