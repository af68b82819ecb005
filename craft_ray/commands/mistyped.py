"""Settings that are typed as other programs want them: with spaces, a colon or dashes."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig

_SETTINGS = {*RunConfig.model_fields, *SpaceConfig.model_fields, *ReproductionConfig.model_fields}
VALUE = "VALUE"


def meant_by(words: Sequence[str]) -> tuple[str, str] | None:
    """What was typed in place of the first setting that is no `key=value`, and what was meant; None
    if there is none."""
    for place, word in enumerate(words):
        following = [*words[place + 1 :], ""]
        if _is_key(word) and not os.path.exists(word):
            if following[0] == "=":
                typed = [word, "=", following[1]]
            elif following[0].startswith("=") or "=" not in following[0]:
                typed = [word, following[0]]
            else:
                typed = [word]
            value = "".join(typed[1:]).removeprefix("=")
            return " ".join(typed).strip(), f"{word}={value or VALUE}"
        if word.endswith("=") and _is_key(word[:-1]) and following[0] and "=" not in following[0]:
            return f"{word} {following[0]}", word + following[0]
        key, colon, value = word.partition(":")
        if colon and _is_key(key) and not os.path.exists(word):
            return word, f"{key}={value.strip() or VALUE}"
    return None


def _is_key(word: str) -> bool:
    return bool(re.fullmatch(r"[a-z][\w.]*", word)) and word.split(".")[0] in _SETTINGS


class Parser(argparse.ArgumentParser):
    """Knows that a setting was meant by an option that there is not."""

    _typed: Sequence[str] = ()

    def parse_intermixed_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        """As argparse does it, with what was typed at hand for a mistake."""
        self._typed = [*(sys.argv[1:] if args is None else args)]
        found: argparse.Namespace = super().parse_intermixed_args(args, namespace)
        return found

    def error(self, message: str) -> NoReturn:
        """Print the message with what was meant, and exit."""
        if (found := re.match(r"unrecognized arguments: --([A-Za-z][\w.-]*)(=\S*)?", message)) and (
            _is_key(key := found[1].replace("-", "_"))
        ):
            value = found[2] or f"={self._word_after(found[1])}"
            message += f": settings are words without dashes: {key}{value}"
        super().error(message)

    def _word_after(self, option: str) -> str:
        """The value that was meant: `--trials 2`."""
        following = [*self._typed, VALUE, VALUE]
        if f"--{option}" not in following:
            return VALUE
        word = following[following.index(f"--{option}") + 1]
        return VALUE if word.startswith("-") or "=" in word else word
