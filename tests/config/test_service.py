"""What an owner may not set together, said by its names."""

from __future__ import annotations

import pytest

from craft_ray.config.loading import load_service_config
from craft_ray.errors import ConfigError

TLS = ("tls_cert=c.pem", "tls_key=k.pem")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("keys=keys.db",),
        ("host=0.0.0.0", "keys=keys.db", *TLS),
        ("host=0.0.0.0", "keys=keys.db", "behind_proxy=true"),
        ("gives.kind=probabilities", "gives.decimals=2", "gives.scores=false"),
        ("oracle.features=true", "gives.embeddings=true"),
    ],
)
def test_what_may_be(words: tuple[str, ...]) -> None:
    load_service_config(None, words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("host=0.0.0.0",), "keys must be a file"),
        (("host=0.0.0.0", "keys=keys.db"), "tls_cert and tls_key"),
        (("tls_cert=c.pem",), "must be given together"),
        (("gives.decimals=2",), "kind must be probabilities"),
        (("gives.kind=probabilities", "gives.top_k=5"), "scores must be false"),
        (("gives.embeddings=true",), "oracle.features must be true"),
        (("pool.attach=other",), "pool.attach must be null"),
        (("mlflow.register_as=model",), "register_as must be null"),
        (("name=../x",), "name"),
        (("port=0",), "port"),
        (("no_such=1",), "no_such"),
    ],
)
def test_what_may_not_be(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_service_config(None, words)
