"""Credentials of an address leave the settings at the door."""

from __future__ import annotations

import pickle

import pytest

from craft_ray.commands.reproduce import SMOKE
from craft_ray.config.loading import load_reproduction_config, load_run_config
from craft_ray.config.secrets import conceal, is_masked, mask, reveal
from craft_ray.config.sections import MlflowConfig

SECRET = "pa55-w0rd"


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        (f"http://user:{SECRET}@host:5000/x", "http://***@host:5000/x"),
        (f"https://{SECRET}@host", "https://***@host"),
        (f"http://u:{SECRET}@more@host", "http://***@host"),
        (f"http://u:{SECRET} with space@host", "http://***@host"),
        (f"postgresql+psycopg2://u:{SECRET}@host/db", "postgresql+psycopg2://***@host/db"),
        (f"mysql://host/db?ssl=1&password={SECRET}&x=1", "mysql://host/db?ssl=1&password=***&x=1"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
    ],
)
def test_an_address_is_masked_and_known_to_this_process(address: str, masked: str) -> None:
    assert conceal(address) == masked
    assert conceal(masked) == masked
    assert reveal(masked) == address
    assert is_masked(masked) == (address != masked)


def test_messages_lose_known_and_unknown_credentials() -> None:
    conceal("http://u:kn0wn%21@host")
    text = mask("tried http://a:b@h/api, kn0wn! and kn0wn%21; see http://h and mail@x")
    assert text == "tried http://***@h/api, *** and ***; see http://h and mail@x"


def test_settings_hold_the_masked_form_only() -> None:
    config = load_run_config(None, [f"mlflow.tracking_uri=http://u:{SECRET}@host"])
    assert config.mlflow.tracking_uri == "http://***@host"
    assert reveal(config.mlflow.tracking_uri) == f"http://u:{SECRET}@host"
    for text in (repr(config), str(config.model_dump()), str(pickle.dumps(config))):
        assert SECRET not in text
    assert MlflowConfig.model_validate(config.mlflow.model_dump()) == config.mlflow


@pytest.mark.parametrize(
    "word",
    [
        f"mlflow.tracking_uri=http://u:{SECRET}@host",
        f"mlflow={{tracking_uri: 'http://u:{SECRET}@host'}}",
    ],
)
def test_a_reproduction_holds_the_masked_form_only(word: str) -> None:
    config = load_reproduction_config(SMOKE, [word])
    assert SECRET not in repr(config)
    assert "http://***@host" in repr(config)
