"""`craft-ray keys`: who may use a served model, for what, how much and how often."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from craft_ray.commands.as_json import print_json
from craft_ray.commands.common import exit_with
from craft_ray.config.places import expand_home
from craft_ray.config.suggestions import did_you_mean
from craft_ray.errors import ConfigError, RunFailedError
from craft_ray.service.meter.keys import MOST_PAIRS, SCOPES, Key, problem_of_name
from craft_ray.service.meter.quota import TOTAL, parse_period, words_of_period
from craft_ray.service.meter.terms import Scope

if TYPE_CHECKING:
    from craft_ray.files.database import Database

T = TypeVar("T")

DEFAULT_FILE = "keys.db"
DEFAULT_SCOPES = "predict,score"
MOST_PER_MINUTE = 10**6
_DAY = "%Y-%m-%d"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(arguments)
    action = {"add": _add, "list": _list, "revoke": _revoke, "usage": _usage}[options.action]
    return exit_with(lambda: action(options))


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--file",
        type=expand_home,
        default=DEFAULT_FILE,
        metavar="FILE",
        help=f"where the keys are: the FILE of `craft-ray serve --keys` (default: {DEFAULT_FILE})",
    )
    common.add_argument("--json", action="store_true", help="print JSON")
    parser = argparse.ArgumentParser(
        prog="craft-ray keys",
        description="Who may ask a served model, for what, how much and how often. A service that "
        "runs notices a change within a second. Guide: docs/serving.md.",
        epilog="Example: craft-ray keys add Ada --pairs 1e6 --per 30d --rpm 600",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, words: str, example: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            name,
            help=words,
            description=f"{words[0].upper()}{words[1:]}.",
            epilog=f"Example: craft-ray keys {example}",
            parents=[common],
        )

    new = add(
        "add",
        "make a key, and print its token: what the user sends; it is not shown again",
        "add Ada --pairs 1e6 --per 30d > ada.key",
    )
    new.add_argument("name", metavar="NAME", help="of whoever will use it, for lists and metrics")
    new.add_argument(
        "--pairs",
        metavar="NUMBER",
        help="most pairs in a period, such as 1e6; a pair is one image compared with one prompt "
        "(default: any number)",
    )
    new.add_argument(
        "--per",
        default=TOTAL,
        metavar="TIME",
        help=f"length of the period, such as 30d or 1h; {TOTAL}: once and for all "
        f"(default: {TOTAL})",
    )
    new.add_argument("--rpm", metavar="NUMBER", help="most requests a minute (default: any number)")
    new.add_argument(
        "--scopes",
        default=DEFAULT_SCOPES,
        metavar="LIST",
        help="what it is good for, with commas between: predict (answers), score (losses), "
        "features (embeddings), tune (files, fine-tunings, classifiers), metrics (figures of all "
        f"keys, for Prometheus) (default: {DEFAULT_SCOPES})",
    )
    add("list", "list the keys", "list --json")
    revoke = add("revoke", "end a key; what it has used stays on record", "revoke Ada")
    revoke.add_argument("key", metavar="ID|NAME")
    usage = add("usage", "show what keys have been charged for, by route", "usage Ada")
    usage.add_argument("key", nargs="?", metavar="ID|NAME", help="(default: all keys)")
    return parser


@contextmanager
def _opened(options: argparse.Namespace, *, make: bool = False) -> Iterator[Database]:
    from craft_ray.service.meter.key_file import open_keys

    try:
        database = open_keys(Path(options.file), make=make)
    except RunFailedError as error:
        if isinstance(error.__cause__, PermissionError):
            raise ConfigError("--file", [str(error)]) from error
        raise
    try:
        yield database
    finally:
        database.close()


def _add(options: argparse.Namespace) -> None:
    from craft_ray.service.meter.key_table import KeyTable

    asked = _asked(options)
    with _opened(options, make=True) as database:
        key, token = KeyTable(database).add(asked)
    if options.json:
        print_json({**_facts(key), "token": token}, indent=2)
        return
    words = f"Key {key.key_id} of {key.name}: {_allowance(key)}."
    print(f"{words} Its token, which is not shown again:", file=sys.stderr, flush=True)
    print(token)


def _asked(options: argparse.Namespace) -> Key:
    """The key that the options describe.

    Raises:
        ConfigError: they break laws; all are named.
    """
    problems: list[str] = []

    def read(name: str, parse: Callable[[], T], otherwise: T) -> T:
        try:
            return parse()
        except ValueError as error:
            problems.append(f"{name}: {error}")
            return otherwise

    if problem := problem_of_name(options.name):
        problems.append(f"NAME: {problem}")
    pairs = read("--pairs", lambda: _whole(options.pairs, MOST_PAIRS), None)
    period_s = read("--per", lambda: parse_period(options.per), None)
    per_minute = read("--rpm", lambda: _whole(options.rpm, MOST_PER_MINUTE), None)
    scopes = read("--scopes", lambda: _scopes(options.scopes), frozenset[Scope]())
    if options.pairs is None and options.per != TOTAL:
        problems.append(f"--per: must not be given without --pairs, but got {options.per!r}")
    if problems:
        raise ConfigError("command line", problems)
    return Key("", options.name, b"", scopes, pairs, period_s, per_minute, time.time())


def _whole(text: str | None, most: int) -> int | None:
    """A whole number, which may be written as 1e6 or 1_000_000.

    Raises:
        ValueError: it is none, or too small or large.
    """
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 1 <= number <= most or number != int(number):
        raise ValueError(f"must be a whole number of 1 to {most:.0e}, but got {text!r}")
    return int(number)


def _scopes(text: str) -> frozenset[Scope]:
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in SCOPES:
            law = f"must be some of {', '.join(SCOPES)}, with commas between, but got {word!r}"
            raise ValueError(law + did_you_mean(word, SCOPES))
    return cast("frozenset[Scope]", frozenset(words))


def _list(options: argparse.Namespace) -> None:
    from craft_ray.service.meter.key_table import KeyTable

    with _opened(options) as database:
        keys = KeyTable(database).all()
    if options.json:
        print_json([_facts(key) for key in keys], indent=2)
        return
    if not keys:
        print("There are no keys: craft-ray keys add NAME", file=sys.stderr)
    for key in keys:
        made = time.strftime(_DAY, time.localtime(key.created))
        print(f"{key.key_id}  {key.name}: {_allowance(key)}; made {made}{_end(key)}")


def _revoke(options: argparse.Namespace) -> None:
    from craft_ray.service.meter.key_table import KeyTable

    with _opened(options) as database:
        key = KeyTable(database).revoke(options.key, time.time())
    if options.json:
        print_json(_facts(key), indent=2)
    else:
        print(f"Key {key.key_id} of {key.name} is revoked.")


def _usage(options: argparse.Namespace) -> None:
    from craft_ray.service.meter.key_table import KeyTable
    from craft_ray.service.meter.spending import Spending

    now = time.time()
    with _opened(options) as database:
        table, spending = KeyTable(database), Spending(database)
        keys = table.all() if options.key is None else table.named(options.key)
        used = [(key, spending.usage(key, now), spending.totals(key.key_id)) for key in keys]
    if options.json:
        document = [
            {
                **_facts(key),
                "period": {
                    "pairs": usage.balance.spent,
                    "remaining": usage.balance.remaining,
                    "ends": usage.period_ends,
                    "requests": usage.requests,
                    "by_route": usage.by_route,
                },
                "since_made": [asdict(total) for total in totals],
            }
            for key, usage, totals in used
        ]
        print_json(document, indent=2)
        return
    for key, usage, totals in used:
        quota = "" if key.pairs is None else f" of {key.pairs:,}"
        period = "" if key.period_s is None else ", in the period that runs"
        print(
            f"{key.key_id}  {key.name}{_end(key)}: {usage.balance.spent:,}{quota} pairs are spent "
            f"or reserved{period}"
        )
        for total in totals:
            word = "request" if total.requests == 1 else "requests"
            print(
                f"  {total.route}: {total.requests:,} charged {word}, {total.pairs:,} pairs in all"
            )


def _facts(key: Key) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "pairs": key.pairs,
        "per": words_of_period(key.period_s),
        "requests_per_minute": key.per_minute,
        "created": key.created,
        "revoked": key.revoked,
    }


def _allowance(key: Key) -> str:
    if key.pairs is None:
        pairs = "any number of pairs"
    elif key.period_s is None:
        pairs = f"{key.pairs:,} pairs in all"
    else:
        pairs = f"{key.pairs:,} pairs per {words_of_period(key.period_s)}"
    rate = "" if key.per_minute is None else f", {key.per_minute:,} requests a minute"
    return f"{','.join(sorted(key.scopes))}; {pairs}{rate}"


def _end(key: Key) -> str:
    if key.revoked is None:
        return ""
    return f", revoked {time.strftime(_DAY, time.localtime(key.revoked))}"
