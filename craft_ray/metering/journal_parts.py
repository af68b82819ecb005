"""Recorded parts as bytes: one by one, or many together. Knows no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from craft_ray.metering.journal_sqlite import QueryId, RecordedPart
from craft_ray.metering.ledger import Spending
from craft_ray.metering.sealed import seal, unseal


@dataclass(frozen=True)
class Packed:
    """A part of an answer.

    Attributes:
        head: what JSON holds of it: place, question, spending, type and shape.
        content: the bytes of the answer.
    """

    head: Mapping[str, Any]
    content: bytes

    @property
    def place(self) -> tuple[QueryId, int]:
        """Its question, and its first context."""
        query = QueryId(
            int(self.head["generation"]), str(self.head["purpose"]), int(self.head["number"])
        )
        return query, int(self.head["start"])

    @property
    def name(self) -> str:
        """Of its place."""
        query, start = self.place
        return f"{query.generation}-{query.purpose}-{query.number}-{start}"

    @property
    def question(self) -> bytes:
        """Its digest."""
        return bytes.fromhex(self.head["question"])

    @property
    def spending(self) -> Spending:
        """What it has cost."""
        return Spending.from_dict(self.head["spending"])

    def recorded(self) -> RecordedPart:
        """The part itself."""
        answer = np.frombuffer(self.content, dtype=np.dtype(self.head["dtype"]))
        start, stop = int(self.head["start"]), int(self.head["stop"])
        return RecordedPart(start, stop, self.spending, answer.reshape(self.head["shape"]))

    def as_bytes(self) -> bytes:
        """`unpack_one` takes it."""
        return seal(self.head, self.content)

    def check(self) -> None:
        """Raises:
        ValueError, TypeError, KeyError: it is no part.
        """
        _ = self.place, self.question
        part = self.recorded()
        if part.answer.ndim < 1 or len(part.answer) != part.stop - part.start:
            shape = part.answer.shape
            raise ValueError(
                f"a part must have {part.stop} - {part.start} answers, but has {shape}"
            )


def pack(
    query: QueryId,
    start: int,
    question: bytes,
    spending: Spending,
    answer: np.ndarray[Any, Any],
) -> Packed:
    """A part of an answer from its first context `start`."""
    head = {
        "generation": query.generation,
        "purpose": query.purpose,
        "number": query.number,
        "start": start,
        "stop": start + len(answer),
        "question": question.hex(),
        "spending": spending.as_dict(),
        "dtype": answer.dtype.str,
        "shape": list(answer.shape),
    }
    return Packed(head, np.ascontiguousarray(answer).tobytes())


def unpack_one(body: bytes) -> Packed:
    """What `Packed.as_bytes` gave.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    part = Packed(*unseal(body))
    part.check()
    return part


def pack_together(parts: Sequence[Packed]) -> tuple[dict[str, Any], bytes]:
    """What JSON holds of many, and their answers one after the other."""
    heads = [{**part.head, "num_bytes": len(part.content)} for part in parts]
    return {"parts": heads}, b"".join(part.content for part in parts)


def unpack_together(head: Mapping[str, Any], content: bytes) -> list[Packed]:
    """Inverse of `pack_together`.

    Raises:
        ValueError, TypeError, KeyError: they are none.
    """
    parts, at = [], 0
    for each in head["parts"]:
        end = at + int(each["num_bytes"])
        part = Packed(each, content[at:end])
        part.check()
        parts.append(part)
        at = end
    if at != len(content):
        raise ValueError(f"parts must have {len(content)} bytes together, but have {at}")
    return parts
