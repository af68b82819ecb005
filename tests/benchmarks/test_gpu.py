"""The benchmark for GPUs runs where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu


def test_it_runs_on_a_cpu_and_counts_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "commit", lambda: "0" * 40)
    monkeypatch.setitem(gpu.IMAGES, "cpu", 2)
    monkeypatch.setattr(gpu, "matmul_peak", lambda dtype, device: 1e12)
    words = "--device cpu --model embedded --classes 10 --candidates 4 --chunk 3 --max-tokens 60"
    gpu.main([*words.split(), "500", "--out", str(tmp_path)])
    result = json.loads((tmp_path / "gpu_embedded.json").read_text())
    assert result["commit"] == "0" * 40
    assert [row["precision"] for row in result["images"]] == ["bf16", "fp32"]
    assert len(result["texts"]) == 2 * 2
    for row in result["texts"]:
        assert 1.0 < row["used_to_needed"] < 1.1
        assert row["flops_per_s"] == pytest.approx(1e12 * row["share_of_measured"])
        assert row["candidates_per_s"] * row["seconds"] == pytest.approx(4)
        is_exact = row["precision"] == "fp32"
        assert (row["max_logit_difference"] < 1e-4) == is_exact, "bf16 rounds"
        assert row["share_of_nominal"] is None
        assert row["peak_mib"] is None
    few, many = (row["launches"] for row in result["texts"][:2])
    assert many < few < 250, "forwards of fewer tokens are more launches"


def test_cards_are_known_by_their_names() -> None:
    assert gpu.nominal_bf16("NVIDIA H100 80GB HBM3") == 989e12
    assert gpu.nominal_bf16("NVIDIA H100 PCIe") == 756e12
    assert gpu.nominal_bf16("NVIDIA L40S") == 362e12
    assert gpu.nominal_bf16("NVIDIA L4") == 121e12
    assert gpu.nominal_bf16("AMD EPYC, 2 threads") is None


def test_it_needs_neither_ray_nor_what_reads_data() -> None:
    missing = ("ray", "rich", "pyarrow", "mlflow", "optuna", "sklearn")
    program = (
        f"import sys\nfor name in {missing}:\n    sys.modules[name] = None\n"
        "from benchmarks import gpu, record\nprint(record._versions()['torch'])"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
