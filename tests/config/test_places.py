"""Where files may be, and that no address holds a credential."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from craft_ray.commands.reproduce import SMOKE
from craft_ray.config.data import ParquetSource
from craft_ray.config.loading import load_reproduction_config, load_run_config
from craft_ray.config.run import RunConfig
from craft_ray.errors import ConfigError

GOOD = (
    "runs",
    "/data/with@sign",
    "s3://bucket",
    "s3://bucket/a/b?endpoint_override=127.0.0.1:5000&scheme=http&region=eu-central-1",
    "gs://bucket/prefix",
    "abfs://account.blob.core.windows.net/container/prefix",
)


@pytest.mark.parametrize("text", GOOD)
def test_a_folder_or_an_address_is_kept_as_it_is(text: str) -> None:
    assert RunConfig(output_dir=text).output_dir == text
    assert ParquetSource(root=text).root == text


@pytest.mark.parametrize(
    ("text", "law"),
    [
        ("ftp://host/a", "must be a folder or an address of s3, gs"),
        ("s3:///prefix", "must be such as s3://bucket/prefix"),
        ("s3://bucket/a b", "must be such as s3://bucket/prefix"),
        ("s3://[bucket/a", "must be an address"),
        ("s3://bucket/a?enpoint_override=x", "options of an s3 address are region, .* 'enpoint_ov"),
    ],
)
def test_an_address_that_means_nothing_is_refused(text: str, law: str) -> None:
    with pytest.raises(ValidationError, match=law):
        RunConfig(output_dir=text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIAPLANTED:planted/secret+key@bucket/prefix",
        "s3://bucket/prefix?access_key=AKIAPLANTED&secret_key=planted/secret+key",
        "s3://***@bucket/prefix",
        "gs://bucket/prefix?token=planted/secret+key",
    ],
)
def test_credentials_are_refused_and_not_repeated(text: str) -> None:
    override = f"output_dir={text}"
    for load in (
        lambda: load_run_config(None, [override]),
        lambda: load_reproduction_config(SMOKE, [override]),
    ):
        with pytest.raises(ConfigError, match=r"output_dir: must be without credentials") as caught:
            load()
        assert "AKIAPLANTED" not in str(caught.value)
        assert "planted/secret" not in str(caught.value)


def test_the_home_folder_is_put_in_place_of_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    words = ["data.source={kind: folder, root: ~/x}", "output_dir=~/runs"]
    config = load_run_config(None, words)
    assert config.output_dir == "/home/u/runs"
    assert config.data.source.model_dump()["root"] == "/home/u/x"
