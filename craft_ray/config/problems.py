"""What pydantic says of settings that break a law, in our words. Knows no settings."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from craft_ray.config.base import UNION_KINDS
from craft_ray.config.documents import shorten
from craft_ray.config.suggestions import about_unknown, did_you_mean

KEY = "[key]"
"""What pydantic calls the key of a mapping, where that breaks a law."""

_NO_WHOLE_NUMBER = ("int_type", "int_parsing", "int_parsing_size", "int_from_float")
_SHOULD = re.compile("^[A-Z][a-z]+ should ")
"""How a law of pydantic begins, such as `Input should be greater than or equal to 1`."""
_NAME_PATTERN = re.compile(r"\^\[A-Za-z0-9\]\[A-Za-z0-9(.+)\](?:\{0,(\d+)\}|\*)\$")
"""The patterns of names: which other characters they may have, and how many more."""
_LAWS = {
    **dict.fromkeys(_NO_WHOLE_NUMBER, "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("list_type", "tuple_type"), "must be a list"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
}
"""pydantic's type of error -> the law, where no more is to be said than what was given."""
_MEMBER = re.compile(r"constrained-\w+|literal\[.*\]|function-after\[.*\]")
"""How pydantic calls the number, the word and the text, in the path of an error, where one of two
may be given."""


def describe_problems(error: ValidationError) -> list[str]:
    """One line a problem: the field, the law, the value."""
    problems: list[str] = []
    for before, detail in pairwise([None, *error.errors()]):
        assert detail is not None
        path = [str(part) for part in detail["loc"] if part not in (*UNION_KINDS, KEY)]
        if is_word := _MEMBER.fullmatch(path[-1] if path else ""):
            path.pop()
        field = ".".join(path)
        if is_word and detail["type"] == "literal_error" and _are_of_one_value(before, detail):
            # The number that it might be is refused by the problem before.
            problems[-1] = f"{field}: {_neither_number_nor_word(before, detail)}"
            continue
        message = _SHOULD.sub("must ", detail["msg"].removeprefix("Value error, "))
        if detail["type"] == "extra_forbidden":
            message = f"is not a known setting{about_unknown(error.title, detail['loc'])}"
        elif detail["type"] in _MESSAGES:
            end, message = _MESSAGES[detail["type"]](detail)
            field += end
        elif detail["type"] in _LAWS:
            message = f"{_LAWS[detail['type']]}, but got {shorten(detail['input'])}"
        elif detail["type"] != "value_error" and not isinstance(detail["input"], dict):
            message = f"{message}, but got {shorten(detail['input'])}"
        problems.append(f"{field}: {message}" if field else message)
    return problems


def _are_of_one_value(before: Any, detail: Any) -> bool:
    return before is not None and before["loc"][:-1] == detail["loc"][:-1]


def _neither_number_nor_word(as_number: Any, as_word: Any) -> str:
    """Of a setting that is one or the other: what pydantic says of each, as one law."""
    law = _SHOULD.sub("must ", as_number["msg"])
    if as_number["type"] in _NO_WHOLE_NUMBER:
        law = _LAWS[as_number["type"]]
    expected, value = as_word["ctx"]["expected"], as_word["input"]
    near = did_you_mean(value, re.findall(r"'(.*?)'", expected)) if isinstance(value, str) else ""
    return f"{law}, or {_words_of(expected)}, but got {shorten(value)}{near}"


def _missing(_: Any) -> tuple[str, str]:
    return "", "must be given"


def _without_kind(detail: Any) -> tuple[str, str]:
    return (".kind", "must be given") if isinstance(detail["input"], dict) else _no_section(detail)


def _of_no_kind(detail: Any) -> tuple[str, str]:
    if not isinstance(detail["input"], dict):
        return _no_section(detail)
    return ".kind", _none_of(detail["ctx"]["tag"], detail["ctx"]["expected_tags"])


def _of_no_value(detail: Any) -> tuple[str, str]:
    return "", _none_of(detail["input"], detail["ctx"]["expected"])


def _not_of_the_pattern(detail: Any) -> tuple[str, str]:
    pattern = detail["ctx"]["pattern"]
    law = f"must match {pattern}"
    if found := _NAME_PATTERN.fullmatch(pattern):
        others = " ".join("a space" if each == " " else each for each in found[1])
        most = f" ({int(found[2]) + 1} characters at most)" if found[2] else ""
        law = f"must be of letters a to z, digits and {others}{most}"
        law += ", and begin with a letter or digit"
    return "", f"{law}, but got {shorten(detail['input'])}"


def _no_text(detail: Any) -> tuple[str, str]:
    if isinstance(detail["input"], dict):
        return "", (
            "must be text, but YAML reads it as a mapping, because of a colon or a brace: put it "
            "into quotes, on a command line as 'KEY=\"a photo: {}\"'"
        )
    return "", f"must be text, but got {shorten(detail['input'])}"


def _no_section(detail: Any) -> tuple[str, str]:
    return "", f"must be a section of settings, but got {shorten(detail['input'])}"


def _words_of(quoted: str) -> str:
    return ", ".join(re.findall(r"'(.*?)'", quoted)) or quoted


def _none_of(value: Any, quoted: str) -> str:
    known = re.findall(r"'(.*?)'", quoted)
    words = _words_of(quoted)
    return f"must be one of {words}, but got {shorten(value)}{did_you_mean(value, known)}"


_MESSAGES: dict[str, Callable[[Any], tuple[str, str]]] = {
    "string_pattern_mismatch": _not_of_the_pattern,
    "string_type": _no_text,
    "missing": _missing,
    "union_tag_not_found": _without_kind,
    "union_tag_invalid": _of_no_kind,
    "literal_error": _of_no_value,
    "model_type": _no_section,
    "model_attributes_type": _no_section,
}
"""pydantic's type of error -> the end of the field's path, and the law in our words."""
