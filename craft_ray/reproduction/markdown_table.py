"""Tables in Markdown whose columns also stand below each other in a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], num_words: int) -> str:
    """A table with as many columns as `header`.

    Args:
        header: of the columns.
        rows: of texts.
        num_words: columns that hold words, from the left; those after them hold numbers, which
            are aligned at the right.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if place < num_words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    widths = [max(width, 3) for width in widths]
    rule = [
        "-" * width if place < num_words else "-" * (width - 1) + ":"
        for place, width in enumerate(widths)
    ]
    return "\n".join([line(header), line(rule), *map(line, rows)])
