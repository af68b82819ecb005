"""The key of an endpoint, where its records lie, and the oracle over a gate to it."""

from __future__ import annotations

import atexit
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.errors import ConfigError
from craft_ray.oracle.endpoints.capabilities import Capabilities
from craft_ray.oracle.gate.answer_store import AnswerStore
from craft_ray.oracle.gate.bill_ledger import BillLedger
from craft_ray.oracle.gate.gate import Gate
from craft_ray.oracle.gate.settings import GateSettings, Secret
from craft_ray.oracle.remote.adapters import SOFT, adapter_of
from craft_ray.oracle.remote.records import Records
from craft_ray.oracle.remote.soft_oracle import SoftEndpointOracle, protocol_of
from craft_ray.oracle.remote.text_oracle import TextEndpointOracle

EndpointOracle = TextEndpointOracle | SoftEndpointOracle


def read_secret(config: EndpointConfig) -> Secret | None:
    """The key; None if the endpoint needs none.

    Raises:
        ConfigError: the variable is not set, or the file is missing, empty or may be read by
            others. The key is in no message.
    """
    if config.api_key_env is not None:
        key = os.environ.get(config.api_key_env, "").strip()
        if not key:
            problem = f"{config.api_key_env} must have the endpoint's key, but is not set"
            raise ConfigError("oracle.api_key_env", [f"the environment variable {problem}"])
        return _secret(key, "oracle.api_key_env", config)
    if config.api_key_file is not None:
        return _secret(_read_key(Path(config.api_key_file)), "oracle.api_key_file", config)
    return None


def _read_key(path: Path) -> str:
    name = "oracle.api_key_file"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            problem = f"{path} must be readable by its owner only, but has mode {mode:04o}"
            raise ConfigError(name, [f"{problem}: chmod 600 {path}"])
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(name, [f"{path} must have the key, but: {why}"]) from None
    if not key:
        raise ConfigError(name, [f"{path} must have the key, but is empty"])
    return key


def _secret(key: str, name: str, config: EndpointConfig) -> Secret:
    if not key.isascii() or not key.isprintable():
        raise ConfigError(name, ["the key must be of printable ASCII characters, but is not"])
    return Secret(key, config.api_key_header)


def capabilities_of(config: EndpointConfig) -> Capabilities:
    """What the settings and the dialect declare; nothing is asked.

    Raises:
        OracleError: the settings do not fit the dialect.
    """
    if config.dialect == SOFT:
        return protocol_of(config).capabilities()
    return adapter_of(config).capabilities()


def check_endpoint(config: EndpointConfig, max_cost: float | None = None) -> None:
    """Refuse settings that cannot be, before anything is started.

    Raises:
        OracleError: they do not fit the dialect.
        ConfigError: the key is not there.
    """
    gate_settings(config, read_secret(config), max_cost)


def gate_settings(
    config: EndpointConfig, secret: Secret | None, max_cost: float | None
) -> GateSettings:
    """How the gate asks."""
    declared = capabilities_of(config)
    return GateSettings(
        url=config.url,
        secret=secret,
        limits=declared.limits,
        prices=declared.prices,
        max_cost=max_cost,
        timeout_s=config.timeout_s,
        longest_wait_s=config.longest_wait_s,
        max_attempts=config.max_attempts,
        tokens_per_image=config.tokens_per_image,
    )


def open_until_exit(
    config: EndpointConfig, secret: Secret | None, records: Records
) -> EndpointOracle:
    """As `open_endpoint`, for as long as this process lives."""
    opened = open_endpoint(config, secret, records)
    oracle = opened.__enter__()
    atexit.register(opened.__exit__, None, None, None)
    return oracle


@contextmanager
def open_endpoint(
    config: EndpointConfig, secret: Secret | None, records: Records
) -> Iterator[EndpointOracle]:
    """The oracle, with its records open; what is in flight is awaited for a short time at the end.

    Raises:
        OracleError: the settings do not fit the dialect, or the endpoint refuses.
        ArtifactError: a file of the records is damaged.
        RunFailedError: it cannot be written.
    """
    settings = gate_settings(config, secret, records.max_cost)
    with ExitStack() as stack:
        answers = stack.enter_context(
            AnswerStore(records.answers, max_bytes=config.answers_mb * 2**20)
        )
        bill = stack.enter_context(
            BillLedger(records.bill, records.run, settings.prices, records.max_cost)
        )
        gate = stack.enter_context(Gate(settings, bill, answers))
        made = SoftEndpointOracle if config.dialect == SOFT else TextEndpointOracle
        yield made(config, gate, answers, bill)
