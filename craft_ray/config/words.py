"""Which words a prompt may have: what nobody sees or tells apart is refused. Standard library only.

The tokenizer would take all of it: a control character or a direction mark becomes tokens of its
own, and a Cyrillic letter that looks like a Latin one makes another word of a class name.
"""

from __future__ import annotations

import itertools
import unicodedata

LOOK_ALIKE_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK")


def unprintable(text: str) -> str | None:
    """The first character that is neither printable nor a kind of space, as `'\\x1b' (U+001B)`."""
    for character in text:
        if not character.isprintable() and unicodedata.category(character) != "Zs":
            return f"{character!a} (U+{ord(character):04X})"
    return None


def look_alike(text: str) -> str | None:
    """The first letter that stands beside one of a script whose letters look the same, by name."""
    for one, other in itertools.pairwise(text):
        first, second = _script(one), _script(other)
        if first and second and first != second:
            stranger = other if first == "LATIN" else one
            return f"{stranger!r} ({unicodedata.name(stranger)})"
    return None


def _script(character: str) -> str | None:
    script = unicodedata.name(character, "").split(" ")[0]
    return script if script in LOOK_ALIKE_SCRIPTS else None
