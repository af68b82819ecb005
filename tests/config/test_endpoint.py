"""Settings of an endpoint: what they refuse, and that no key is ever in them."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from craft_ray.config.documents import split_override
from craft_ray.config.endpoint import DIALECTS, NAMES_A_MODEL, EndpointConfig
from craft_ray.config.loading import change_run_config
from craft_ray.config.oracle import OracleConfig
from craft_ray.config.resuming import changes_that_matter
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import DEFAULT_RUN
from craft_ray.errors import ConfigError, OracleError
from craft_ray.oracle.endpoints.registry import ADAPTERS
from craft_ray.oracle.remote.opening import check_endpoint, read_secret

BASE = {"kind": "http", "dialect": "infinity", "url": "https://host.test/v1", "model": "clip"}


def config(**changes: Any) -> EndpointConfig:
    return EndpointConfig.model_validate(BASE | changes)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"dialect": "openai"}, "dialect.*must be one of infinity, vllm.*my.module:Adapter, but got"),
    ({"dialect": "my module:Adapter"}, "must be one of"),
    ({"url": "host.test/v1"}, "must be such as https://host/v1, but got 'host.test/v1'"),
    ({"url": "ftp://host.test"}, "must be such as"),
    ({"url": "https://"}, "must be such as"),
    ({"url": "https://host.test/a b"}, "must be such as"),
    ({"url": "https://host.test:port/"}, "must be such as"),
    ({"url": "https://host.test/#there"}, "must be such as"),
    ({"model": ""}, "model must be given for dialect infinity, but got none"),
    ({"api_key_env": "A", "api_key_file": "/b"}, "must not both be given, but got 'A' and '/b'"),
    ({"api_key_header": "X Key"}, "must be the name of an HTTP header, but got 'X Key'"),
    ({"limits": {"images": 0}}, "limits.images"),
    ({"limits": {"pixels": 4}}, "limits.pixels"),
    ({"prices": {"image": -1}}, "prices.image"),
    ({"prices": {"currency": "dollars"}}, "prices.currency"),
    ({"timeout_s": 0}, "timeout_s"),
    ({"max_attempts": 0}, "max_attempts"),
    ({"logit_scale": 0}, "logit_scale"),
    ({"pretrained": "openai"}, "pretrained"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){message}"):
        config(**changes)


@pytest.mark.parametrize(
    "url",
    [
        "https://name:hunter2secret@host.test/v1",
        "https://host.test/v1?api_key=hunter2secret",
        "https://host.test/v1?token=hunter2secret&x=1",
    ],
)
def test_a_key_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(url=url)
    said = str(caught.value.errors()[0]["msg"])
    assert "must be without a key or password" in said
    assert "oracle.api_key_env" in said
    assert "hunter2secret" not in said


def test_a_key_in_place_of_a_variables_name_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as caught:
        config(api_key_env="sk-hunter2secret")
    said = str(caught.value.errors()[0]["msg"])
    assert "must be the name of an environment variable, and not the key itself" in said
    assert "hunter2secret" not in said


def test_numbers_and_dates_are_revisions() -> None:
    assert config(revision=2).revision == "2"
    assert config(revision=date(2026, 11, 1)).revision == "2026-11-01"


def test_every_dialect_has_an_adapter_but_our_own() -> None:
    assert set(DIALECTS) == {*ADAPTERS, "craft_ray"}
    assert set(NAMES_A_MODEL) <= set(DIALECTS)
    for dialect in set(DIALECTS) - set(NAMES_A_MODEL):
        assert config(dialect=dialect, model="").model == ""


def test_free_units_are_no_prices() -> None:
    assert not config(prices={"image": 0}).has_prices
    assert config(prices={"token": 1e-7}).has_prices


def test_a_pool_has_more_patience_than_an_endpoint_needs() -> None:
    slow = {"oracle": BASE | {"timeout_s": 400}, "method": "head"}
    with pytest.raises(ValidationError, match=r"got 400 and 600: give pool.chunk_timeout_s=800"):
        RunConfig.model_validate(slow)
    RunConfig.model_validate(slow | {"pool": {"chunk_timeout_s": 800}})


def test_a_bill_stays_in_its_currency() -> None:
    def document(**changes: Any) -> dict[str, Any]:
        run = RunConfig.model_validate({"oracle": BASE | changes, "method": "head"})
        return run.model_dump(mode="json")

    stored = document()
    assert not changes_that_matter(RunConfig, stored, document(prices={"image": 1, "token": 2}))
    [change] = changes_that_matter(RunConfig, stored, document(prices={"currency": "EUR"}))
    assert change == ("oracle.prices.currency", "USD", "EUR")


def test_a_local_model_is_still_the_usual_kind() -> None:
    assert isinstance(RunConfig().oracle, OracleConfig)
    run = RunConfig.model_validate({"oracle": BASE, "method": "head"})
    assert isinstance(run.oracle, EndpointConfig)
    again = RunConfig.model_validate_json(run.model_dump_json())
    assert again == run


class TestKeys:
    def test_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENDPOINT_KEY", " sk-hunter2secret\n")
        settings = config(api_key_env="ENDPOINT_KEY")
        secret = read_secret(settings)
        assert secret is not None
        assert secret.headers() == {"Authorization": "Bearer sk-hunter2secret"}
        assert "hunter2" not in repr(secret) + str(secret) + settings.model_dump_json()

    def test_in_a_header_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENDPOINT_KEY", "hunter2secret")
        secret = read_secret(config(api_key_env="ENDPOINT_KEY", api_key_header="x-api-key"))
        assert secret is not None
        assert secret.headers() == {"x-api-key": "hunter2secret"}

    def test_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENDPOINT_KEY", "  ")
        with pytest.raises(ConfigError, match="variable ENDPOINT_KEY must have the endpoint's key"):
            check_endpoint(config(api_key_env="ENDPOINT_KEY"))

    def test_none_is_needed(self) -> None:
        assert read_secret(config()) is None

    def test_of_a_file_of_mode_0600(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        path.write_text("hunter2secret\n")
        path.chmod(0o600)
        secret = read_secret(config(api_key_file=str(path)))
        assert secret is not None
        assert secret.headers() == {"Authorization": "Bearer hunter2secret"}

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
    def test_of_a_file_that_others_may_read(self, mode: int, tmp_path: Path) -> None:
        path = tmp_path / "key"
        path.write_text("hunter2secret\n")
        path.chmod(mode)
        with pytest.raises(ConfigError) as caught:
            read_secret(config(api_key_file=str(path)))
        said = str(caught.value)
        assert f"has mode {mode:04o}: chmod 600 {path}" in said
        assert "hunter2secret" not in said

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "No such file"),
            (b" \n", "is empty"),
            (b"\xff\xfe\x00", "it is no text"),
            ("schlüssel-hunter2".encode(), "printable ASCII"),
        ],
    )
    def test_of_a_file_without_one(
        self, content: bytes | None, message: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "key"
        if content is not None:
            path.write_bytes(content)
            os.chmod(path, 0o600)
        with pytest.raises(ConfigError, match=message) as caught:
            read_secret(config(api_key_file=str(path)))
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": {"sigmoid": True}}, r"oracle.options: do not fit infinity: .*sigmoid"),
        ({"options": {"limits": {}}}, r"oracle.options.limits: must be given as oracle.limits"),
        ({"options": {"prices": {}}}, r"oracle.options.prices: must be given as oracle.prices"),
        ({"dialect": "no.such_module:Adapter"}, r"must be a module and a class in it"),
        ({"dialect": "json:loads"}, r"oracle.options: do not fit json:loads"),
        ({"dialect": "kserve_v2"}, r"must have the name of an output tensor"),
        (
            {"dialect": "hf_zero_shot", "limits": {"labels": 1}},
            r"limits.labels: must be at least 2",
        ),
    ],
)
def test_settings_that_do_not_fit_the_dialect(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OracleError, match=message):
        check_endpoint(config(**changes))


def test_money_needs_prices() -> None:
    with pytest.raises((OracleError, ConfigError, ValidationError), match="prices"):
        RunConfig.model_validate({"oracle": BASE, "method": "head", "max_cost": 1.0})


def test_the_model_of_the_default_settings_is_none_of_an_endpoint() -> None:
    words = [f"oracle.{key}={value}" for key, value in BASE.items() if key != "model"]
    words[1] = "oracle.dialect=hf_zero_shot"
    oracle = change_run_config(DEFAULT_RUN, map(split_override, words), "settings").oracle
    assert isinstance(oracle, EndpointConfig)
    assert oracle.model == ""
    # Said before the kind or after it.
    named = ["oracle.model=mine", *words, "oracle.revision=2"]
    oracle = change_run_config(DEFAULT_RUN, map(split_override, named), "settings").oracle
    assert isinstance(oracle, EndpointConfig)
    assert (oracle.model, oracle.revision) == ("mine", "2")
