"""What `tune`, `train` and `reproduce` do around their work: the run's folder, Ray, and what to
type when it was cut short."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from craft_ray.commands.common import progress_console
from craft_ray.commands.shorthand import typed_words
from craft_ray.config.secrets import mask
from craft_ray.errors import (
    FULL_DISK,
    OracleError,
    RunFailedError,
    RunInterruptedError,
    StorageError,
    UserError,
)

# Imported late, here and in the commands: `--help` and a mistyped key wait for no library.
if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from craft_ray.config.base import Settings
    from craft_ray.config.sections import RayConfig
    from craft_ray.files.remote import Place


@dataclass(frozen=True)
class RunRequest:
    """Which run a command line asks for, new or to be resumed.

    Attributes:
        command: its name.
        options: of the command line; its `again` is a command line that continues the run, if that
            is another one than was typed.
        output_dir, name: of the run; without a name it gets one from `stem`.
        settings: all that is kept with the run, of the kind `model`.
    """

    command: str
    options: argparse.Namespace
    output_dir: str
    name: str | None
    stem: str
    settings: dict[str, Any]
    model: type[Settings]

    def check(self) -> None:
        """Refuse a name that is taken, or a run that cannot be resumed, before work is put into it.

        A dry run asks no object store: the check of one writes to it.

        Raises:
            ConfigError: says what is there.
        """
        from pathlib import Path

        from craft_ray.files.remote import locate
        from craft_ray.jobs.run_folder import check_is_new, check_store, find_run_folder

        place = locate(self.output_dir)
        if self.options.dry_run and not isinstance(place, Path):
            return
        check_store(place)
        if self.options.resume:
            find_run_folder(place, self.name, self.stem, self.settings, self.model)
        elif self.name is not None:
            check_is_new(place.resolve() / self.name)

    @contextmanager
    def open(
        self, ray: RayConfig, headline: Callable[[str], Sequence[str]]
    ) -> Iterator[tuple[Place, Console]]:
        """The run's folder, and where to print, with Ray up.

        Args:
            ray: which Ray.
            headline: from the name of the run to the first lines on the screen.

        Raises:
            ConfigError: the folder cannot be made or resumed, or the cluster does not answer.
            RunInterruptedError, RunFailedError: see `resume_hint`.
        """
        from craft_ray.files.remote import locate
        from craft_ray.jobs.live import spinner, waiting
        from craft_ray.jobs.run_folder import open_run_folder
        from craft_ray.light_imports import imported_meanwhile

        options = self.options
        console = progress_console(options)
        with ExitStack() as stack:
            folder = stack.enter_context(
                open_run_folder(
                    locate(self.output_dir),
                    self.name,
                    self.stem,
                    self.settings,
                    self.model,
                    resume=options.resume,
                )
            )
            for line in headline(folder.name):
                console.print(line, highlight=False, markup=False, soft_wrap=True)
            words = typed_words(options)
            stack.enter_context(resume_hint(self.command, words, folder, options.again))
            with waiting(console, "Starting Ray"), imported_meanwhile("torch"):
                from craft_ray.jobs.ray_session import ray_session

                stack.enter_context(ray_session(ray))
            yield folder, console
            with console.status(
                "Ending Ray", spinner=spinner(console)
            ):  # seconds, of which a terminal should know
                stack.close()


@contextmanager
def resume_hint(
    name: str, words: Sequence[str], folder: Place, again: Sequence[str] | None = None
) -> Iterator[None]:
    """Tell a user whose run was cut short how to continue it.

    Args:
        name: of the command.
        words: that were typed.
        folder: of the run.
        again: a command line that continues it, if it is not the same with `--resume`.

    Raises:
        RunInterruptedError: in place of Ctrl-C, with the command that continues.
        RunFailedError: with that command; also in place of a full disk.
        OracleError: an endpoint has refused; with that command.
    """
    kept = [word for word in words if not word.startswith("name=")]
    command = ["craft-ray", name, *kept, f"name={folder.name}", "--resume"]

    def hint() -> str:
        from craft_ray.jobs.run_folder import SUMMARY_FILE, is_finished

        with suppress(UserError, StorageError):  # what cannot be read is no end
            if is_finished(folder):
                return f"nothing is left to do: see {folder / SUMMARY_FILE}"
        # A password on this line would be on the screen and in the log of the terminal.
        return "continue with\n  " + shlex.join(mask(word) for word in again or command)

    try:
        yield
    except (RunInterruptedError, KeyboardInterrupt) as error:
        raise RunInterruptedError(f"{str(error) or 'stopped'}; {hint()}") from error
    except (RunFailedError, StorageError) as error:
        raise RunFailedError(f"{error}; {hint()}") from error
    except OracleError as error:
        from craft_ray.oracle.remote.records import BILL_FILE

        if not (folder / BILL_FILE).is_file():
            raise
        # An endpoint that refuses what it is asked: a key, say, that is no longer taken.
        raise OracleError(f"{error}; when that is mended, {hint()}") from error
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        where = error.filename or folder
        raise RunFailedError(
            f"{where}: must be writable, but: {error.strerror}; {hint()}"
        ) from error
