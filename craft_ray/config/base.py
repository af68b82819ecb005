"""The common behaviour of all settings models. Imports neither torch nor Ray."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict

UNION_KINDS: set[str] = set()
"""pydantic names the member of a union in an error's path; the user's file has no such level."""


class Settings(BaseModel):
    """A frozen group of settings: unknown keys and non-finite numbers are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Remember the `kind` of a member of a union."""
        if (field := cls.model_fields.get("kind")) is not None:
            UNION_KINDS.update(get_args(field.annotation))
