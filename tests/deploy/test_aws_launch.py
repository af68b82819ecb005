"""clusters/gpu.yaml, as it is, through Ray's AWS provider to an EC2 that moto plays: what is
launched, and that the policies of clusters/aws/ permit each call, and nothing else."""

from __future__ import annotations

import copy
import fnmatch
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
import yaml
from botocore.client import BaseClient  # type: ignore[import-untyped]
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from moto import mock_aws
from ray.autoscaler._private.aws.config import log_to_cli
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.aws.utils import client_cache, resource_cache
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.tags import TAG_RAY_NODE_KIND, TAG_RAY_NODE_STATUS

from .cluster_checks import Config
from .project import AWS_FILES, CLUSTER_GUIDE, ROOT

pytestmark = pytest.mark.slow  # boto3, and moto's tables of instances

OF_EC2_ITSELF = {"iam:PassRole", "ssm:GetParameters"}
"""EC2 asks for these when it launches: the second for `resolve:ssm:`."""


def load(name: str) -> dict[str, Any]:
    policy: dict[str, Any] = json.loads((ROOT / "clusters" / "aws" / name).read_text())
    return policy


def actions(policy: dict[str, Any]) -> set[str]:
    listed = [statement["Action"] for statement in policy["Statement"]]
    return {action for item in listed for action in ([item] if isinstance(item, str) else item)}


@dataclass
class Account:
    """An account at AWS, and what has been asked of it."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """What was asked since the last time: action, as IAM calls it, and arguments."""
        taken, self.calls = self.calls, []
        return taken


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Account]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("HOME", str(tmp_path))  # for the key that Ray writes to ~/.ssh
    asked, call = Account(), BaseClient._make_api_call

    def record(client: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
        service = client.meta.service_model.service_name
        asked.calls.append((f"{service}:{operation}", copy.deepcopy(arguments)))
        return call(client, operation, arguments)

    with mock_aws():
        monkeypatch.setattr(BaseClient, "_make_api_call", record)
        make_the_role()
        asked.take()
        yield asked
    client_cache.cache_clear()
    resource_cache.cache_clear()


def make_the_role() -> None:
    """What the guide says to do once. moto reads the documents as IAM does."""
    iam = boto3.client("iam", region_name="us-west-2")
    trust, head = json.dumps(load("trust.json")), json.dumps(load("head.json"))
    name = "craft-ray-head"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    iam.put_role_policy(RoleName=name, PolicyName="craft-ray", PolicyDocument=head)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def cluster_file() -> Config:
    config: Config = prepare_config(yaml.safe_load((ROOT / "clusters" / "gpu.yaml").read_text()))
    return config


def launch(config: Config, kind: str, node_type: str) -> tuple[AWSNodeProvider, list[str]]:
    """One node, as `ray up` starts the head, and the head the workers."""
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    node_config = config["available_node_types"][node_type]["node_config"]
    nodes = provider.create_node(node_config, {TAG_RAY_NODE_KIND: kind}, 1)
    return provider, list(nodes)


def end(provider: AWSNodeProvider) -> None:
    nodes = provider.non_terminated_nodes({})
    provider.set_node_tags(nodes[0], {TAG_RAY_NODE_STATUS: "up-to-date"})
    assert provider.is_running(nodes[0])
    assert provider.internal_ip(nodes[0])
    provider.terminate_nodes(nodes)
    assert provider.non_terminated_nodes({}) == []


def test_ray_launches_the_file_as_it_is_with_what_the_policies_permit(account: Account) -> None:
    config = AWSNodeProvider.fillout_available_node_types_resources(cluster_file())
    config = AWSNodeProvider.bootstrap_config(config)
    log_to_cli(config)
    provider, nodes = launch(config, "head", "head")
    assert len(nodes) == 1
    end(provider)
    by_the_user = account.take()
    provider, nodes = launch(config, "worker", "gpu_worker")
    assert len(nodes) == 1
    end(provider)
    by_the_head = account.take()

    for calls, name in ((by_the_user, "launcher.json"), (by_the_head, "head.json")):
        needed = {action for action, _ in calls}
        assert needed == actions(load(name)) - OF_EC2_ITSELF
        ((_, arguments),) = [call for call in calls if call[0] == "ec2:RunInstances"]
        # Ray passes it on to EC2, which looks it up.
        assert arguments["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/ami/")
        assert ("IamInstanceProfile" in arguments) == (name == "launcher.json")
        (tags,) = [item["Tags"] for item in arguments["TagSpecifications"]]
        names = {tag["Key"]: tag["Value"] for tag in tags}
        assert fnmatch.fnmatch(names["ray-cluster-name"], permitted_names(name))


def permitted_names(name: str) -> str:
    """The one pattern of clusters whose nodes a policy lets be started, named and ended."""
    (pattern,) = set(re.findall(r'ray-cluster-name": "([^"]+)"', json.dumps(load(name))))
    return str(pattern)


def test_the_user_may_give_the_head_the_role_of_the_file_and_no_other() -> None:
    head = cluster_file()["available_node_types"]["head"]["node_config"]
    (statement,) = [
        each for each in load("launcher.json")["Statement"] if each["Action"] == "iam:PassRole"
    ]
    assert statement["Resource"].endswith(f":role/{head['IamInstanceProfile']['Name']}")
    assert statement["Condition"]["StringEquals"]["iam:PassedToService"] == "ec2.amazonaws.com"


@pytest.mark.parametrize("name", ["head.json", "launcher.json"])
def test_the_image_of_the_file_may_be_looked_up(name: str) -> None:
    (statement,) = [
        each for each in load(name)["Statement"] if each["Action"] == "ssm:GetParameters"
    ]
    for node_type in cluster_file()["available_node_types"].values():
        parameter = node_type["node_config"]["ImageId"].removeprefix("resolve:ssm:")
        arn = f"arn:aws:ssm:us-west-2::parameter{parameter}"
        assert fnmatch.fnmatch(arn, statement["Resource"])


@mock_aws
@pytest.mark.parametrize("path", AWS_FILES, ids=lambda path: path.name)
def test_iam_takes_the_document(path: Path) -> None:
    iam = boto3.client(
        "iam", region_name="us-west-2", aws_access_key_id="a", aws_secret_access_key="b"
    )
    text = path.read_text()
    if path.name == "trust.json":
        iam.create_role(RoleName="x", AssumeRolePolicyDocument=text)
        return
    iam.create_policy(PolicyName="x", PolicyDocument=text)
    with pytest.raises(ClientError, match="MalformedPolicyDocument"):
        iam.create_policy(PolicyName="y", PolicyDocument=text.replace('"Action"', '"Actoin"'))


def test_the_guide_names_each_document_and_no_other() -> None:
    named = set(re.findall(r"(clusters/aws/\w+\.json)", CLUSTER_GUIDE.read_text()))
    assert named == {str(path.relative_to(ROOT)) for path in AWS_FILES}
