"""docker-compose.yaml: nothing is open to the network, no secret is in it, and its commands are
those of the programs that will run them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from craft_ray.config.loading import load_service_config
from craft_ray.service.tunings.runner import GRACE_S
from tests.support.shell import shell_error

from .dockerfile_checks import FIXED_IMAGE, environment_of, parse, stages
from .project import ROOT

TEXT = (ROOT / "docker-compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SECRET = re.compile(r"(PASSWORD|TOKEN|SECRET|KEY)")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_checked_and_has_no_rights(name: str) -> None:
    service = SERVICES[name]
    assert FIXED_IMAGE.fullmatch(service["image"])
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")


@pytest.mark.parametrize("name", SERVICES)
def test_only_the_loopback_of_the_machine_is_published(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    assert "network_mode" not in SERVICES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_files_that_git_and_docker_do_not_see(name: str) -> None:
    service = SERVICES[name]
    for key, value in service.get("environment", {}).items():
        if SECRET.search(key):
            assert key.endswith(("_FILE", "_PATH")), key
            assert value.removeprefix("/run/secrets/") in service["secrets"]
    assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert not re.search(r"://[^\s/@]+:[^\s/@]+@", TEXT), "a password in an address"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_names_is_there(name: str) -> None:
    service = SERVICES[name]
    assert service.get("depends_on", {}).keys() <= SERVICES.keys()
    for volume in service.get("volumes", []):
        assert volume.split(":")[0] in COMPOSE["volumes"]
    build = service.get("build")
    if isinstance(build, dict):
        assert build["target"] in stages(parse((ROOT / "Dockerfile").read_text()))
    elif build is None:
        assert not service["image"].startswith("craft-ray")


def with_defaults(words: list[str]) -> list[str]:
    """As Compose reads them where no variable is set."""
    return [re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word) for word in words]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray Serve, at import
@pytest.mark.parametrize("name", ["head", "worker", "gpu-worker"])
def test_ray_understands_how_it_is_started_and_asked(name: str) -> None:
    from ray.scripts import scripts

    program, start, *words = SERVICES[name]["entrypoint"] + with_defaults(SERVICES[name]["command"])
    assert (program, start) == ("ray", "start")
    options = scripts.start.make_context("start", words).params
    assert options["block"]
    assert options["head"] == (name == "head")
    assert options["head"] or options["address"] == "head:6379"
    assert options["num_cpus"] >= 1, "each would count all cores of the machine"
    (gigabytes,) = re.findall(r"^(\d+)g$", SERVICES[name]["shm_size"])
    assert options["object_store_memory"] <= 0.95 * int(gigabytes) * 2**30
    _, ray_word, check, *words = SERVICES[name]["healthcheck"]["test"]
    assert (ray_word, check) == ("ray", "health-check")
    scripts.healthcheck.make_context("health-check", words)


def test_the_service_has_keys_tls_and_a_volume_from_its_first_start() -> None:
    service = SERVICES["serve"]
    assert service["entrypoint"] == ["python", "-m", "craft_ray.serve"]
    config = load_service_config(None, service["command"])
    assert service["ports"] == [f"127.0.0.1:{config.port}:{config.port}"]
    for secret in (config.tls_cert, config.tls_key):
        assert str(secret).removeprefix("/run/secrets/") in service["secrets"]
    assert f"service:{config.folder}" in service["volumes"]
    assert Path(str(config.keys)).parent == Path(config.folder)
    # The image makes the folder, so that a new volume is its user's.
    assert f" {config.folder}" in (ROOT / "Dockerfile").read_text()
    assert int(service["stop_grace_period"].removesuffix("s")) > GRACE_S
    script = service["healthcheck"]["test"][-1]
    assert f"https://127.0.0.1:{config.port}/healthz" in script
    compile(script, "healthcheck", "exec")


@pytest.mark.parametrize("name", ["head", "worker", "gpu-worker", "serve"])
def test_weights_are_downloaded_to_a_volume_that_the_containers_user_may_write(name: str) -> None:
    instructions = parse((ROOT / "Dockerfile").read_text())
    folder = environment_of(instructions)["HF_HOME"]
    assert f"weights:{folder}" in SERVICES[name]["volumes"]
    made = [each.value for each in instructions if each.value.startswith("install -d -o craft")]
    assert any(folder in value.split() for value in made)


@pytest.mark.slow  # its command line imports its server
def test_mlflow_understands_how_it_is_started() -> None:
    import mlflow.cli

    (script,) = SERVICES["mlflow"]["command"]
    script = script.replace("$$", "$")
    assert SERVICES["mlflow"]["entrypoint"] == ["sh", "-euc"]
    assert shell_error(script, "sh") is None
    words = shlex.split(script.partition("exec mlflow server ")[2])
    options = mlflow.cli.server.make_context("server", words).params
    assert options["backend_store_uri"] == "postgresql://mlflow@postgres/mlflow"
    assert "mlflow:5000" in options["allowed_hosts"].split(",")
    published = SERVICES["mlflow"]["ports"][0].removesuffix(":5000")
    assert published in options["allowed_hosts"].split(",")
    assert f"{options['artifacts_destination']}" in SERVICES["mlflow"]["volumes"][0].split(":")
