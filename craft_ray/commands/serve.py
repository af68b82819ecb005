"""`craft-ray serve`: offer a model to others, as a service of answers and of tuning."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from craft_ray.commands.common import exit_with, path_argument
from craft_ray.commands.mistyped import Parser
from craft_ray.config.documents import to_yaml
from craft_ray.config.loading import load_service_config
from craft_ray.config.service import LOOPBACK, ServiceConfig
from craft_ray.errors import ConfigError

if TYPE_CHECKING:
    from craft_ray.service.run import RunningService


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = Parser(
        prog="craft-ray serve",
        description="Offer a model to others over HTTP: it answers, counts what each key asks, and "
        "tunes classifiers for those who want one. Ctrl-C ends it, and the same words start it "
        "again where it was. Guide: docs/serving.md.",
        epilog="Example: craft-ray serve --keys keys.db oracle.model=ViT-B-32 "
        "oracle.pretrained=openai",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="CONFIG.yaml | key=value",
        help="a file of settings, and settings, such as port=8080; `craft-ray settings --of "
        "service` lists all (default: the small model that is part of craft-ray)",
    )
    parser.add_argument(
        "--keys",
        type=path_argument,
        metavar="FILE",
        help="who may ask, and how much: `craft-ray keys add NAME` makes it; the same as keys=FILE "
        "(default: whoever is on this machine may ask)",
    )
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        help="permit host=ADDRESS without tls_cert and tls_key, because a proxy of yours takes "
        "TLS; the same as behind_proxy=true",
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print all settings as YAML, and end"
    )
    options = parser.parse_intermixed_args(arguments)
    return exit_with(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    config = asked_for(options)
    if options.print_config:
        print(to_yaml(config.model_dump(mode="json")), end="")
        return
    check_installed()
    from rich.console import Console

    from craft_ray.light_imports import imported_meanwhile

    console = Console(stderr=True, emoji=False)
    with imported_meanwhile("torch"):
        from craft_ray.service.run import running_service

    with running_service(config, console) as service:
        print(f"{service.url} answers about {config.oracle.model}", flush=True)
        for line in hints(config, service):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        _wait_for_the_end()
        with console.status("Ending the service"):
            pass


def asked_for(options: argparse.Namespace) -> ServiceConfig:
    """The settings that a command line means.

    Raises:
        ConfigError: one breaks a law, or there are two files.
    """
    files = [word for word in options.words if "=" not in word]
    if len(files) > 1:
        problem = f"must be one file of settings at most, but got {', '.join(files)}"
        raise ConfigError("CONFIG.yaml", [problem])
    words = [word for word in options.words if "=" in word]
    if options.keys is not None:
        words.append(f"keys={options.keys}")
    if options.behind_proxy:
        words.append("behind_proxy=true")
    return load_service_config(Path(files[0]) if files else None, words)


def check_installed() -> None:
    """Refuse to start without the packages of the extra.

    Raises:
        ConfigError: says how to install them.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import ray.serve  # noqa: F401
    except ImportError as error:
        problem = f"needs packages beside craft-ray ({error.name}): pip install 'craft-ray[serve]'"
        raise ConfigError("craft-ray serve", [problem]) from None


def hints(config: ServiceConfig, service: RunningService) -> list[str]:
    """What to do next, on the screen."""
    url = service.url
    lines = [f"OpenAPI page: {url}/docs. Ctrl-C ends the service."]
    if config.keys is None:
        lines.append("No keys: whoever is on this machine may ask. With keys: --keys FILE.")
    else:
        lines.append(f"A key for somebody: craft-ray keys add NAME --file {config.keys}")
    if config.host in LOOPBACK:
        # The variable that has the key: docs/serving.md.
        key = "" if config.keys is None else " --key-env CRAFT_KEY"
        lines.append(f"Ask it: craft-ray train images/ --endpoint {url} --dialect craft_ray{key}")
    lines.append(
        "Search at its pool, on this cluster: RAY_AUTH_MODE=token craft-ray tune "
        f"ray.address={service.ray_address} pool.attach={config.name}"
    )
    return lines


def _wait_for_the_end() -> None:
    """Until Ctrl-C or SIGTERM."""
    ended = threading.Event()

    def end(number: int, frame: object) -> None:
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # In short sleeps: a signal is taken by the main thread between two of them.
        while not ended.wait(0.5):
            pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
