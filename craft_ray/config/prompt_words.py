"""Templates with free places, and words to put there: what a search over text prompts draws from.

Written for this project: how photographs are described that models have learnt from, and adjectives
for what they show.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SLOT = "{w}"
"""In a frame: the place of a word. The class name's place is `{}`, as in every template."""

FRAMES = (
    "a {w} {}",
    "{w} {}",
    "the {w} {}.",
    "a photo of a {w} {}.",
    "a photo of the {w} {}.",
    "a photo of one {w} {}.",
    "a picture of a {w} {}.",
    "an image of a {w} {}.",
    "a drawing of a {w} {}.",
    "a close-up photo of a {w} {}.",
    "a {w} photo of a {}.",
    "a {w} photo of the {}.",
    "a {w} picture of a {}.",
    "a {w} image of a {}.",
    "a photo of a {} in {w} style.",
    "a photo of a {}, a {w} thing.",
    "a {w} {w} {}",
    "a photo of a {w} {w} {}.",
    "a {w} photo of a {w} {}.",
    "a {w} picture of the {w} {}.",
    "a {w} drawing of a {w} {}.",
)

_PHOTOGRAPHS = """
aerial, amateur, artistic, bad, black and white, blurry, bright, centered, clean, clear, close-up,
colour, cropped, dark, detailed, digital, dirty, distant, faded, flash, frontal, good, grainy,
grayscale, high resolution, indoor, isolated, jpeg corrupted, low contrast, low resolution, macro,
medical, microscopic, noisy, old, outdoor, overexposed, pixelated, plain, professional, satellite,
sharp, side view, simple, stock, studio, thermal, tiled, tiny, top view, underwater, vintage, wide
angle
"""
_LOOKS = """
beautiful, big, black, blue, bold, broken, brown, checkered, cheap, classic, cool, cute, dry,
elegant, empty, everyday, expensive, fancy, fast, flat, fluffy, folded, fresh, full, glossy, golden,
gray, green, hairy, hanging, hard, heavy, huge, knitted, large, leather, light, little, living,
long, metal, modern, moving, narrow, natural, new, nice, open, orange, painted, pink, plastic,
polished, pretty, purple, rare, red, rough, round, rusty, shiny, short, silver, single, small,
smooth, soft, spotted, square, standing, striped, strong, tall, textured, thick, thin, torn,
transparent, typical, unusual, used, warm, weird, wet, white, whole, wild, wooden, woollen, worn,
woven, yellow, young
"""


def _words_of(*texts: str) -> tuple[str, ...]:
    return tuple(" ".join(word.split()) for text in texts for word in text.split(","))


WORDS = _words_of(_PHOTOGRAPHS, _LOOKS)
"""All different."""


_AN = re.compile("(?!use|uni[cfqtv]|eu|one)[aeiou]")
"""Words with "an" before them: not "used", "unique" or "one-eyed"."""


def num_places(frame: str) -> int:
    """Words that a frame takes."""
    return frame.count(SLOT)


def with_own_template(frames: Sequence[str], template: str) -> tuple[str, ...]:
    """Frames, by default `FRAMES`, and the task's own template with a word before the class name;
    each once."""
    own = template.replace("{}", f"{SLOT} {{}}")
    return tuple(dict.fromkeys((own, *(frames or FRAMES))))


def fill(frame: str, words: Sequence[str]) -> str:
    """A template: the frame with its places filled in order; words beyond them are not used. The
    "a" directly before a place becomes "an" before the sound of a vowel, as far as letters tell."""
    template = frame
    for word in words[: num_places(frame)]:
        before, _, after = template.partition(SLOT)
        if (before == "a " or before.endswith(" a ")) and _AN.match(word.lower()):
            before = f"{before[:-1]}n "
        template = before + word + after
    return template
