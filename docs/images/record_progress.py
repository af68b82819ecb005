"""Makes progress.svg: what a terminal shows while a search runs, and at its end.

    pip install -e ".[docs]"
    python docs/images/record_progress.py --when "trial 3 .*00/600" --out FILE.svg COMMAND ...

The command runs in a terminal of its own. The picture has its screen when a line of it first
matches `--when`, and its screen at the end.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import os
import pty
import re
import shlex
import struct
import sys
import termios
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

COLUMNS, ROWS = 104, 60


def main() -> int:
    """The program; returns the exit code of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--when", required=True, metavar="PATTERN")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.svg")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    during: list[Text] = []
    process, terminal = pty.fork()
    if process == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(options.command[0], options.command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while content := _read(terminal):
        stream.feed(decoder.decode(content))
        if not during and any(re.search(options.when, line) for line in screen.display):
            during = _lines(screen)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    _draw(options.out, shlex.join(options.command), during, _lines(screen))
    return code


def _read(terminal: int) -> bytes:
    """What the command has printed; nothing when it has ended."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def _lines(screen: pyte.Screen) -> list[Text]:
    """The screen with its colours, without the empty lines at its end and without paths of the
    machine that made the picture."""
    lines = []
    for row in range(ROWS):
        cells = [screen.buffer[row][column] for column in range(COLUMNS)]
        # Cells of one look are one piece of text, which makes the picture small.
        pieces = groupby(cells, key=lambda cell: (cell.fg, cell.bold))
        line = Text.assemble(
            *(("".join(cell.data for cell in piece), _style(*look)) for look, piece in pieces)
        )
        line.rstrip()
        lines.append(line)
    while lines and not lines[-1].plain:
        lines.pop()
    here = str(Path.cwd()) + "/"
    return [_without(line, here) for line in lines]


def _style(colour: str, bold: bool) -> Style:
    """As rich names it, from pyte's name of a colour."""
    if re.fullmatch("[0-9a-f]{6}", colour):
        return Style(color=f"#{colour}", bold=bold)
    colour = colour.replace("brown", "yellow")
    if colour.startswith("bright"):
        colour = f"bright_{colour.removeprefix('bright')}"
    return Style(color=colour, bold=bold)


def _without(line: Text, path: str) -> Text:
    start = line.plain.find(path)
    return line if start < 0 else line[:start] + line[start + len(path) :]


def _draw(file: Path, command: str, during: list[Text], end: list[Text]) -> None:
    with open(os.devnull, "w") as nowhere:
        console = Console(
            record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor"
        )
        console.print(f"$ {command}", style="bold", highlight=False)
        for line in during:
            console.print(line)
        console.print("\n... and at the end:\n", style="dim italic", highlight=False)
        # What stood there already is not shown twice.
        for line in end[_same(during, end) :]:
            console.print(line)
        picture = console.export_svg(title="craft-ray tune")
    # No font is fetched: the reader's own monospaced one is as good.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    file.write_text(picture, encoding="utf-8")


def _same(first: list[Text], second: list[Text]) -> int:
    """How many lines are equal from the top."""
    pairs = zip(first, second, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a.plain != b.plain), len(first))


if __name__ == "__main__":
    sys.exit(main())
