"""Where the files under test are, and what pyproject.toml says of Ray."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
# For `ray up`.
CLUSTER_FILES = tuple(ROOT / "clusters" / f"{name}.yaml" for name in ("gcp", "gpu", "local"))
AWS_FILES = tuple(sorted((ROOT / "clusters" / "aws").glob("*.json")))
"""Policies of IAM."""
KUBERAY_FILE = ROOT / "clusters" / "kuberay.yaml"
MONITORING_FILE = ROOT / "clusters" / "kuberay-monitoring.yaml"
JOB_FILE = ROOT / "clusters" / "job.yaml"
PROMETHEUS_FILE = ROOT / "clusters" / "prometheus.yml"
DASHBOARD = ROOT / "clusters" / "grafana" / "craft-ray.json"
CLUSTER_GUIDE = ROOT / "docs" / "cluster.md"


def requirements() -> list[Requirement]:
    """What the package depends on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(text) for text in project["dependencies"]]


def ray_allowed() -> SpecifierSet:
    """The versions of Ray that the package depends on."""
    return next(item.specifier for item in requirements() if item.name == "ray")
