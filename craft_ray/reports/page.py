"""The frame of a page, its style, and the small words that all its parts use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1c2127; --dim: #5c6670; --line: #d8dee4;
  --card: #f5f7f9; --main: #0b6bcb; --zero: #8a939b; --good: 26, 127, 55; --bad: 207, 34, 46;
  --c0: #0b6bcb; --c1: #d9730d; --c2: #2f9e44; --c3: #ae3ec9; --c4: #c2255c; --c5: #0c8599; }
@media (prefers-color-scheme: dark) { :root { --page: #12161b; --ink: #e4e9ee; --dim: #9aa5b1;
  --line: #343c45; --card: #1b2128; --main: #58a6ff; --zero: #7d8790; --good: 63, 185, 80;
  --bad: 248, 81, 73; --c0: #58a6ff; --c1: #f0a35e; --c2: #69db7c; --c3: #da77f2; --c4: #f783ac;
  --c5: #3bc9db; } }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; margin: 0 auto;
  max-width: 66rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: var(--page); }
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.8rem 0 .4rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
h3 { font-size: .95rem; margin: 1rem 0 .3rem; }
p { margin: .4rem 0; max-width: 46rem; } .dim { color: var(--dim); }
.small { font-size: .85rem; }
.hero { display: flex; flex-wrap: wrap; gap: .5rem 3rem; align-items: center; margin: 1rem 0; }
.hero > div { flex: 1 1 18rem; } .hero > svg { flex: 1 1 20rem; }
.big { font-size: 3.2rem; font-weight: 650; line-height: 1.1; letter-spacing: -.02em; }
.up { color: rgb(var(--good)); font-weight: 600; } .down { color: rgb(var(--bad)); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem;
  margin: 1.2rem 0 0; padding: 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .6rem .8rem; } .card b { display: block; font-size: 1.3rem; line-height: 1.35; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr));
  gap: .5rem 2rem; } .pair > * { min-width: 0; }
.wide { overflow-x: auto; margin: .4rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
td, th { padding: .3rem .65rem; border-bottom: 1px solid var(--line); text-align: right; }
td:first-child, th:first-child, .left { text-align: left; }
thead th { font-weight: 600; color: var(--dim); vertical-align: bottom; }
tbody th { font-weight: 400; } tr.best > * { font-weight: 650; background: var(--card); }
.matrix { font-size: .78rem; } .matrix td, .matrix th { padding: .15rem .3rem; border: 0; }
.matrix td { min-width: 1.9rem; text-align: center; border: 1px solid var(--page); }
.matrix thead th { writing-mode: vertical-rl; text-align: right; padding: .3rem 0; }
.matrix tbody th { text-align: right; max-width: 9rem; min-width: 4rem; overflow-wrap: break-word; }
.grid { display: grid; gap: 1rem .8rem; margin: .8rem 0;
  grid-template-columns: repeat(auto-fill, minmax(6.6rem, 1fr)); }
figure { margin: 0; font-size: .82rem; line-height: 1.35; overflow-wrap: anywhere; }
.picture { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; margin-bottom: .3rem;
  background: var(--card); border-radius: .4rem; }
svg { display: block; width: 100%; height: auto; max-width: 34rem; }
svg text { font: 11px system-ui, sans-serif; fill: var(--dim); paint-order: stroke;
  stroke: var(--page); stroke-width: 3px; stroke-linejoin: round; }
.change { width: 10rem; min-width: 7rem; height: auto; }
.small-chart svg { max-width: 19rem; }
svg .ink { fill: var(--ink); } svg .strong { fill: var(--ink); font-weight: 650; }
.axis { stroke: var(--line); fill: none; } .zero { stroke: var(--zero); stroke-dasharray: 5 4; }
.ideal { stroke: var(--ink); }
.key { display: inline-block; margin-right: 1rem; }
.key i { display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem;
  margin-right: .35rem; vertical-align: -.05rem; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--main); }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .7rem .9rem; overflow-x: auto; font-size: .85rem; line-height: 1.45; }
code { font-size: .9em; overflow-wrap: anywhere; } pre code { font-size: 1em; }
@media (max-width: 34rem) { body { padding: 1rem .9rem 3rem; } td, th { padding: .3rem .4rem; }
  table { font-size: .85rem; } .matrix { font-size: .7rem; } .matrix td { min-width: 1.5rem; }
  .matrix td, .matrix th { padding: .15rem .1rem; } h2 { margin-top: 2rem; }
  .change { min-width: 5.5rem; } }
@media print { :root { color-scheme: light; --page: #fff; --ink: #000; --dim: #444; --line: #bbb;
  --card: #f4f4f4; --main: #0b6bcb; --good: 26, 127, 55; --bad: 207, 34, 46; }
  body { font-size: 10.5pt; max-width: none; padding: 0; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; } h2 { margin-top: 1.4rem; }
  h2, h3, p.small { break-after: avoid; } .wide { overflow: visible; }
  table { font-size: 8.5pt; } td, th { padding: .2rem .35rem; } .matrix { font-size: 7pt; }
  .matrix td { min-width: 1.2rem; } .matrix td, .matrix th { padding: .1rem; }
  svg { min-width: 0 !important; } tr, figure, svg, .card { break-inside: avoid; }
  pre { white-space: pre-wrap; } }
"""
NUM_COLOURS = 6
"""Of methods and the like: `--c0` and so on."""


def page(title: str, body: Iterable[str]) -> str:
    """A whole document around what stands in its body.

    Args:
        title: plain text.
        body: HTML, in pieces.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def section(title: str, note: str = "") -> str:
    """The head of a section; both are plain text."""
    return f"<h2>{escape(title)}</h2>" + (dim(note) if note else "")


def dim(text: str) -> str:
    """A paragraph that explains; plain text."""
    return f'<p class="dim small">{escape(text)}</p>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], best: int | None = None, left: int = 1
) -> str:
    """Columns of numbers beside names.

    Args:
        head: of the columns; plain text.
        rows: their cells; HTML.
        best: the row that is set off.
        left: so many columns are words, and stand to the left.
    """
    classes = [' class="left"' if place < left else "" for place in range(len(head))]

    def cells(tag: str, values: Sequence[str]) -> str:
        pairs = zip(classes, values, strict=True)
        return "".join(f"<{tag}{css}>{value}</{tag}>" for css, value in pairs)

    lines = [
        f"<tr{' class=best' if place == best else ''}>{cells('td', row)}</tr>"
        for place, row in enumerate(rows)
    ]
    names = [escape(name) for name in head]
    return (
        f'<div class="wide"><table><thead><tr>{cells("th", names)}</tr></thead><tbody>'
        f"{''.join(lines)}</tbody></table></div>"
    )


def card(value: str, about: str) -> str:
    """A number and what it is; plain text."""
    return (
        f'<div class="card"><b>{escape(value)}</b><span class="dim small">{escape(about)}</span>'
        "</div>"
    )


def folded(title: str, content: str) -> str:
    """HTML that is shown on demand, without a script."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def code(text: str) -> str:
    """Lines to copy; plain text."""
    return f"<pre><code>{escape(text)}</code></pre>"


def share(value: float | None) -> str:
    """A share as a percentage; `-` where there is none."""
    return "-" if value is None else f"{value:.1%}"


def points(difference: float) -> str:
    """A difference of two shares, in points."""
    return f"{100 * difference:+.1f} points"


def seconds(value: float) -> str:
    """A time as people say it."""
    if value < 99.5:
        return f"{value:.0f} s"
    if value < 600:
        return f"{round(value) // 60} min {round(value) % 60} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
