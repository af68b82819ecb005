"""`craft-ray completion SHELL`: what makes a shell complete the words of craft-ray.

The shell asks craft-ray itself for the words, at every press of the key: they are those of this
version and of the runs that there are. It is asked with `--words` and the line in front of the
cursor.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

SCRIPTS = {
    "bash": """_craft_ray() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}" word
    COMPREPLY=($(craft-ray completion --words "$line" 2> /dev/null))
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    # Where `=` or `:` ends a word of the shell, only what comes behind it is completed.
    word="${line##*[[:space:]]}"
    COMPREPLY=("${COMPREPLY[@]#"${word%"$2"}"}")
}
complete -o default -F _craft_ray craft-ray
""",
    "zsh": """_craft_ray() {
    local -a words_found
    words_found=("${(@f)$(craft-ray completion --words "${BUFFER[1,CURSOR]}" 2> /dev/null)}")
    compadd -Q -S '' -- ${words_found:#}
    _files
}
compdef _craft_ray craft-ray
""",
    "fish": """function _craft_ray
    craft-ray completion --words (commandline -cp) 2> /dev/null
end
complete -c craft-ray -a '(_craft_ray)'
""",
}
INSTALL = {
    "bash": 'eval "$(craft-ray completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(craft-ray completion zsh)"    # in ~/.zshrc, after compinit',
    "fish": "craft-ray completion fish > ~/.config/fish/completions/craft-ray.fish",
}
OF_A_RUN = ("predict", "evaluate", "ui")
"""Commands whose first word is the name of a run."""
ACTIONS = {
    "runs": ("list", "show", "compare", "resume", "remove", "export"),
    "data": ("check", "convert"),
    "keys": ("add", "list", "revoke", "usage"),
}
"""Command -> what its first word may be."""
OF_SETTINGS = ("tune", "train", "reproduce", "settings")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="craft-ray completion",
        description="Print what makes a shell complete commands, options, settings and names of "
        "runs. Example: " + INSTALL["bash"],
    )
    parser.add_argument("shell", nargs="?", choices=list(SCRIPTS), metavar="bash|zsh|fish")
    parser.add_argument("--words", metavar="LINE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.words is not None:
        print("\n".join(completions(options.words)))
    elif options.shell is None:
        parser.error("must have the name of a shell: bash, zsh or fish")
    else:
        print(f"# {INSTALL[options.shell]}\n{SCRIPTS[options.shell]}", end="")
    return 0


def completions(line: str) -> list[str]:
    """What the last word of a line may become; none where only files fit.

    Args:
        line: from the name of the program to the cursor.
    """
    try:
        words = shlex.split(line)
    except ValueError:  # a quote is open
        return []
    begun = words.pop() if words and not line[-1:].isspace() else ""
    if len(words) < 2:
        from craft_ray.commands.program import COMMANDS

        known: Iterator[str] = iter([*COMMANDS, "--version", "--help"])
    else:
        known = _words_of(words[1], words[2:], begun)
    return sorted({word for word in known if word.startswith(begun) and word != begun})


def _words_of(command: str, before: Sequence[str], begun: str) -> Iterator[str]:
    """Of a word of a command; `before` are those between them."""
    if begun.startswith("-"):
        yield from _options(command)
    elif command in ("tune", "train") and before[-1:] == ["--preset"]:
        yield from _presets(command)
    elif command in ("tune", "train", "suggest") and before[-1:] == ["--model"]:
        yield from _models()
    elif command == "suggest":
        from craft_ray.commands.asking_once import SETTINGS

        yield from (f"{key}=" for key in SETTINGS)
    elif command in OF_SETTINGS:
        yield from _settings(command, begun)
    elif command in ACTIONS and not before:
        yield from ACTIONS[command]
    elif command in OF_A_RUN:
        if not before:  # after it come images: the shell offers files
            yield from _runs()
    elif command == "runs" and (len(before) == 1 or before[0] == "compare"):
        yield from _runs()


def _options(command: str) -> Iterator[str]:
    """Those that the command's own help names."""
    import contextlib
    import importlib
    import io

    from craft_ray.commands.program import COMMANDS

    if command not in COMMANDS:
        return
    module = importlib.import_module(f"craft_ray.commands.{command}")
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        module.main(["--help"])
    yield from re.findall(r"(?<![\w-])--[a-z][a-z-]+", text.getvalue())


def _presets(command: str) -> Iterator[str]:
    from craft_ray.commands import train, tune

    yield from (tune if command == "tune" else train).PRESETS


def _models() -> Iterator[str]:
    from craft_ray.oracle.catalogue import architectures, tags_of

    yield "embedded"
    yield from (f"{name}/{tag}" for name in architectures() for tag in tags_of(name))


def _settings(command: str, begun: str) -> Iterator[str]:
    """Keys, and the files that are shipped."""
    from craft_ray.config.base import Settings
    from craft_ray.config.reference import all_settings
    from craft_ray.config.reproduction import ReproductionConfig
    from craft_ray.config.run import RunConfig
    from craft_ray.config.shipped import shipped_names
    from craft_ray.config.space import SpaceConfig

    if command == "settings":
        yield from {each.path for each in all_settings(RunConfig)}
        return
    models: dict[str, list[type[Settings]]] = {
        "train": [RunConfig],
        "tune": [RunConfig, SpaceConfig],
        "reproduce": [RunConfig, ReproductionConfig],
    }
    for model in models[command]:
        yield from (f"{each.path}=" for each in all_settings(model, exclude=("base", "run")))
    if begun.startswith("tune_spaces"):
        yield from shipped_names()


def _runs() -> Iterator[str]:
    """In the usual folder."""
    yield "latest"
    yield from (path.parent.name for path in Path("runs").glob("*/settings.json"))
