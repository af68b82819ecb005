"""The common behaviour of all settings models. Imports neither torch nor Ray."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, field_validator

UNION_KINDS: set[str] = set()
"""pydantic names the member of a union in an error's path; the user's file has no such level."""

MODELS: dict[str, type[BaseModel]] = {}
"""All of them by name, which is the title of pydantic's errors."""


class Settings(BaseModel):
    """A frozen group of settings: unknown keys and non-finite numbers are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*")
    @classmethod
    def _no_null_character(cls, value: Any) -> Any:
        """No path, name or address has one, and the operating system refuses it by a ValueError."""
        if isinstance(value, dict):
            texts = list(value.values())
        else:
            texts = list(value) if isinstance(value, tuple) else [value]
        for text in texts:
            if isinstance(text, str) and "\0" in text:
                raise ValueError(f"must not have a null character, but got {text!r}")
        return value

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Remember the model, and the `kind` of a member of a union."""
        MODELS[cls.__name__] = cls
        if (field := cls.model_fields.get("kind")) is not None:
            UNION_KINDS.update(get_args(field.annotation))
