"""What the commands have in common: exit codes, checked inputs, and the last lines."""

from __future__ import annotations

import argparse
import io
import os
import select
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from craft_ray.commands.as_json import print_json
from craft_ray.commands.mistyped import Parser
from craft_ray.config.money import money
from craft_ray.config.places import expand_home
from craft_ray.config.secrets import mask
from craft_ray.environment import set_environment
from craft_ray.errors import (
    EXIT_CODE_FAILED,
    EXIT_CODE_INTERRUPTED,
    EXIT_CODE_NOT_READ,
    EXIT_CODE_USER_ERROR,
    FULL_DISK,
    RunFailedError,
    RunInterruptedError,
    StorageError,
    UserError,
)
from craft_ray.interrupts import (
    comes_of_ctrl_c,
    repeat_lost_interrupts,
    take_signals,
    treat_sigterm_as_ctrl_c,
)

if TYPE_CHECKING:
    from rich.console import Console

    from craft_ray.config.run import RunConfig
    from craft_ray.files.remote import Place
    from craft_ray.task.preparation import FewShotData


OUTPUT_IS_FULL = "the disk of the output must have room for all of it, but is full"
PILLOWS_WARNINGS = ("Image size .* exceeds limit", "Corrupt EXIF data", "Truncated File Read")
"""How Pillow's warnings of files begin, with lines of its own code. What is too large or broken is
an error, which says the file; of the rest the picture is good."""


def exit_with(command: Callable[[], None]) -> int:
    """Run a command; a user's mistake is one message and exit code 2, never a traceback."""
    set_environment()
    take_signals()
    treat_sigterm_as_ctrl_c()
    repeat_lost_interrupts()
    for words in PILLOWS_WARNINGS:
        warnings.filterwarnings("ignore", words, module="PIL")
    _print_anything()
    try:
        command()
        sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return EXIT_CODE_NOT_READ
    except UserError as error:
        print(f"error: {_visible(error)}", file=sys.stderr)
        return EXIT_CODE_USER_ERROR
    except (RunFailedError, StorageError) as error:
        print(f"failed: {_visible(error)}", file=sys.stderr)
        return EXIT_CODE_FAILED
    except RunInterruptedError as error:
        print(f"interrupted: {_visible(error)}", file=sys.stderr)
        return EXIT_CODE_INTERRUPTED
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK and _output_is_full():
            print(f"error: {OUTPUT_IS_FULL}: {error.strerror}", file=sys.stderr)
            return EXIT_CODE_USER_ERROR
        if not comes_of_ctrl_c(error):
            raise
        print("interrupted", file=sys.stderr)  # whoever has something to continue says how
        return EXIT_CODE_INTERRUPTED
    return 0


def _print_anything() -> None:
    """A terminal, or a file, that takes ASCII only gets `caf\\xe9` in place of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nobody_reads() -> bool:
    """Whether the reader of the output has ended, as `head` does when it has its lines."""
    output = sys.stdout.fileno()
    poll = select.poll()
    poll.register(output, 0)
    if not any(state & (select.POLLERR | select.POLLHUP) for _, state in poll.poll(0)):
        return False  # a broken pipe to something else is no end of the output
    _drop_output()
    return True


def _output_is_full() -> bool:
    """Whether it is the output that has no room, not another file."""
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except OSError as error:
        if error.errno in FULL_DISK:
            _drop_output()
            return True
    return False


def _drop_output() -> None:
    """Python writes what is left once more at its end, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _visible(error: Exception) -> str:
    """The message without secrets, and without what would control the terminal: a name in it may
    be anybody's."""
    return "".join(
        character if character.isprintable() or character == "\n" else ascii(character)[1:-1]
        for character in mask(str(error))
    )


def command_parser(
    name: str, description: str, example: str, file_name: str, help_of_words: str
) -> argparse.ArgumentParser:
    """The options that the commands share."""
    command = f"craft-ray {name}"
    parser = Parser(prog=command, description=description, epilog=f"Example: {command} {example}")
    parser.add_argument("words", nargs="*", metavar=f"{file_name} | key=value", help=help_of_words)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what differs from the defaults, what will be spent and what will be asked of "
        "Ray; start nothing",
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print all settings as YAML, and end"
    )
    add_screen_options(parser)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted run: the newest unfinished one, or name=RUN",
    )
    return parser


def add_screen_options(parser: argparse.ArgumentParser) -> None:
    """What is printed of a run."""
    screen = parser.add_mutually_exclusive_group()
    screen.add_argument("--quiet", action="store_true", help="print the result and mistakes only")
    screen.add_argument(
        "--json", action="store_true", help="print the summary as JSON, all else to stderr"
    )


def progress_console(options: argparse.Namespace) -> Console:
    """Where progress is shown.

    If whoever reads it goes away (`craft-ray tune | head`), the run goes on without words: what it
    has paid for would be cut off.
    """
    from rich.console import Console

    class GoesOn(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

    return GoesOn(emoji=False, stderr=options.json, quiet=options.quiet)


def show_outcome(
    options: argparse.Namespace,
    summary: Mapping[str, Any],
    result: Mapping[str, Any],
    label: str,
    folder: Place,
    ui_command: str | None,
) -> None:
    """The result on the screen, or as JSON."""
    from rich.console import Console

    if options.json:
        print_json(summary)
    else:
        print_outcome(Console(emoji=False), summary, result, label, folder, ui_command)


def print_outcome(
    console: Console,
    summary: Mapping[str, Any],
    result: Mapping[str, Any],
    label: str,
    folder: Place,
    ui_command: str | None,
) -> None:
    """The last lines of a command: what was gained, spent and stored."""
    from rich.markup import escape

    from craft_ray.classifiers.interval import accuracy_interval
    from craft_ray.reports.measured import CHOSEN_ON, measured_on

    verdict = result.get("verdict")
    split, num_images = measured_on(summary, result)
    measured = "no image measures its accuracy"
    if split is not None:
        before, after = summary["zero_shot"][split]["accuracy"], result[split]["accuracy"]
        gain = f"{100 * (after - before):+.1f} points"
        low, high = accuracy_interval(after, num_images)
        sure = f"(95 %: {low:.1%} to {high:.1%})"
        words = {"held_out": "held-out"}.get(split, split)
        measured = (
            f"{words} accuracy [bold]{after:.1%}[/] {sure}, zero-shot {before:.1%}: [bold]{gain}[/]"
        )
    ledger = summary["ledger"]
    known = ledger["cached_predictions"]
    shared = f"; {known:,} more were answered before" if known else ""
    is_billed = summary.get("bill") is not None
    has_cost = summary["cost"] is not None and not is_billed
    cost = f" They cost {money(summary['cost'])}." if has_cost else ""
    sentences = [
        f"{escape(label)}: {measured}.",
        *([escape(verdict)] if verdict else []),
        f"Spent {ledger['candidate_queries']:,} candidate "
        f"{'query' if ledger['candidate_queries'] == 1 else 'queries'} "
        f"({ledger['image_predictions']:,} image predictions{shared}) in "
        f"{summary['seconds']:.0f} s." + cost,
    ]
    if split != "test":
        worse = ""
        if split is not None:
            worse = f": the result was chosen on the {CHOSEN_ON[split]}, so it is somewhat worse "
            worse += "than this on others"
        sentences.insert(
            1,
            f"There are no test images{worse}. Measure it on labelled images: "
            f"craft-ray evaluate {escape(shlex.quote(str(folder)))} IMAGES",
        )
    if is_billed:
        sentences.append(_billed(summary))
    lines = [
        f"Summary:    {escape(str(folder / 'summary.json'))}",
        f"Classifier: {escape(str(folder / 'best'))}",
        f"Use it:     craft-ray predict {escape(shlex.quote(str(folder)))} PHOTOS",
    ]
    if (folder / "report.html").is_file():
        lines.append(f"Look at it: {escape(str(folder / 'report.html'))}")
    if ui_command:
        lines.append(f"In MLflow:  {escape(ui_command)}")
    for line in sentences:
        console.print(line, highlight=False, soft_wrap=not console.is_terminal)
    for line in lines:  # a path is never broken
        console.print(line, highlight=False, soft_wrap=True)


def _billed(summary: Mapping[str, Any]) -> str:
    from craft_ray.metering.ledger import has_needed_answers
    from craft_ray.oracle.gate.bill import Bill

    is_needed = has_needed_answers(summary["ledger"])
    return Bill.from_dict(summary["bill"]).sentence(is_needed=is_needed)


def check_inputs(
    config: RunConfig,
    options: argparse.Namespace,
    *,
    decode: bool,
    check_model: Callable[[], None],
) -> FewShotData:
    """Everything that can be wrong with model and data, found before anything is started; what
    takes no time comes first. Warns of class names that say nothing, and tells how files were read.

    Args:
        config: settings of the run.
        options: of the command line, for where progress is shown.
        decode: also decode every image once. Else what the index says is checked.
        check_model: refuses a model that cannot be asked.

    Raises:
        UserError: names the field or file, the law and the value.
    """
    from craft_ray.data.mute_names import warning_of_mute_names
    from craft_ray.task.preparation import load_data, sample_data

    if decode:  # it may take its time, as all that follows
        progress_console(options).print("Checking model and data ...", highlight=False)
    check_model()
    data = load_data(config) if decode else sample_data(config)
    if (warning := warning_of_mute_names(config.data.source, data.dataset)) is not None:
        print(f"warning: {warning}", file=sys.stderr)
    tell_notes(data.dataset.notes)
    return data


def tell_notes(notes: Iterable[str]) -> None:
    """What a user should know of how files were read, beside what a command prints."""
    for each in notes:
        print(f"note: {each}", file=sys.stderr)


def terminal_columns() -> int | None:
    """Of the terminal that reads the output; None: a file or another program does."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def path_argument(text: str) -> Path:
    """A path, for argparse; a shell leaves the `~` of `--out=~/x` as it is."""
    return Path(expand_home(text))


def add_output_dir(parser: argparse.ArgumentParser) -> None:
    """The option that says where runs are."""
    parser.add_argument(
        "--output-dir",
        type=expand_home,
        default="runs",
        metavar="DIR",
        help="where runs are (default: runs)",
    )


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, but got {text!r}")
    return int(text)
