"""Memory of the optimizer's side against white-box prompt tuning of the same model.

    python -m benchmarks.memory --model ViT-B-32

Each side is a process of its own. The optimizer's process has what a client of a black box has: the
search distribution, the projection, the head and its answers; its oracle lives in another process.
The white-box process has the model, its activations for all classes, and gradients.

Also: the text tower's own memory for 40 candidates x 1,000 classes, which `max_tokens_per_forward`
bounds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import psutil
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from rich.console import Console
from rich.table import Table

from benchmarks.fixed_service import FixedServiceOracle
from benchmarks.models import load_or_draw
from benchmarks.record import commit, write_result
from benchmarks.text_work import CIFAR10, class_names
from craft_ray.config.oracle import OracleConfig
from craft_ray.config.run import RunConfig
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.text.encoder import TextTower
from craft_ray.oracle.text.prompts import tokenize_task
from craft_ray.task.preparation import load_data, prepare
from craft_ray.tuners.registry import make_trainer

MIB = 2**20
STEPS = 3


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--role", choices=sorted(ROLES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        torch.set_num_threads(options.threads)
        print(json.dumps(ROLES[options.role](options.model, options.device)))
        return
    commit_id = commit()
    rows = {role: in_a_process(role) for role in ROLES}
    show(options.model, rows)
    result = {
        "model": options.model,
        "unit": "MiB",
        "rows": rows,
        "ratio_of_white_box_to_optimizer": ratios(rows),
    }
    print(write_result("memory", commit_id, result, options.device))


def in_a_process(role: str) -> dict[str, float]:
    """Run one role with the words of this command."""
    words = [sys.executable, "-m", "benchmarks.memory", *sys.argv[1:], "--role", role]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(words, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    document: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return document


def optimizer_side(model: str, device: str) -> dict[str, float]:
    """Generations against an oracle that answers and has no weights here."""
    imported = resident()
    config = RunConfig.model_validate({"data": {"views": 1}, "evaluate_every_generations": 1})
    metered = MeteredOracle(FixedServiceOracle(0.0), QueryLedger(config.max_queries))
    prepared = prepare(config, load_data(config), metered)
    trainer = make_trainer(metered, prepared, config)
    for _ in range(STEPS):
        trainer.run_generation()
    state = trainer.state_dict()
    dim, population = config.prompt.intrinsic_dim, config.optimizer.population
    head = sum(a.nbytes for name, a in state.arrays.items() if name.startswith("head."))
    moments = sum(a.nbytes for name, a in state.arrays.items() if name.startswith("adam."))
    projection = 4 * dim * prepared.task.initial_context.size
    # CMA-ES: covariance, its square root and its inverse, in float64; and the population.
    distribution = 8 * (3 * dim * dim + 2 * population * dim)
    answers = 4 * len(prepared.fitness.labels_N) * prepared.task.num_classes
    return {
        "parameters": (head + projection) / MIB,
        "optimizer_state": (moments + distribution) / MIB,
        "activations": answers / MIB,
        "peak_resident": peak_resident(),
        "resident_after_imports": imported,
    }


def white_box_side(model: str, device: str) -> dict[str, float]:
    """CoOp's step: gradients of the context through the text tower, for all classes at once."""
    imported = resident()
    loaded = load_or_draw(model, device)
    clip = loaded.model
    ids = loaded.tokenizer([f"a photo of a {name}." for name in CIFAR10]).to(device)
    context = clip.token_embedding(ids[0, 1:5]).detach().clone().requires_grad_(True)
    adam = torch.optim.Adam([context], lr=1e-3)
    pixels = torch.zeros((32, 3, loaded.image_size, loaded.image_size), device=device)
    labels = torch.zeros(32, dtype=torch.long, device=device)
    saved: dict[int, int] = {}
    parameters = {p.data_ptr() for p in clip.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if tensor.data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    for _ in range(STEPS):
        with torch.no_grad():
            images = F.normalize(clip.encode_image(pixels), dim=-1)
        saved.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            x = clip.token_embedding(ids)
            x = torch.cat([x[:, :1], context.expand(len(ids), -1, -1), x[:, 5:]], dim=1)
            x = clip.transformer(x + clip.positional_embedding, attn_mask=clip.attn_mask)
            x = clip.ln_final(x)[torch.arange(len(ids)), ids.argmax(dim=-1)]
            text = F.normalize(x @ clip.text_projection, dim=-1)
            loss = F.cross_entropy(100 * images @ text.T, labels)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    result = {
        "parameters": sum(p.numel() * p.element_size() for p in clip.parameters()) / MIB,
        "optimizer_state": 2 * context.numel() * 4 / MIB,
        "activations": sum(saved.values()) / MIB,
        "peak_resident": peak_resident(),
        "resident_after_imports": imported,
    }
    if device == "cuda":
        result["cuda_peak"] = torch.cuda.max_memory_allocated() / MIB
    return result


def large_population(model: str, device: str) -> dict[str, float]:
    """40 candidates x 1,000 classes through the fast text path, with its default bound."""
    loaded = load_or_draw(model, device)
    config = OracleConfig()
    tower = TextTower(loaded, config)
    task = ClassificationTask(class_names(1000))
    tokens = tokenize_task(task, loaded.tokenizer, tower.context_length)
    contexts = tower.embed(tokens.prefix_L).expand(40, -1, -1)
    before = peak_resident()
    features = tower.encode(tokens, contexts)
    result = {
        "features": features.numel() * 4 / MIB,
        "peak_over_loaded_model": peak_resident() - before,
        "peak_resident": peak_resident(),
    }
    if device == "cuda":
        result["cuda_peak"] = torch.cuda.max_memory_allocated() / MIB
    return result


ROLES = {
    "optimizer": optimizer_side,
    "white_box": white_box_side,
    "text_of_40_candidates_x_1000_classes": large_population,
}


def resident() -> float:
    """Memory of this process now."""
    return float(psutil.Process().memory_info().rss) / MIB


def peak_resident() -> float:
    """The most this process has had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return float(line.split()[1]) / 1024
    return resident()


def ratios(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """White box / optimizer: of what each side must hold, and of the processes beyond imports."""
    held, grown = {}, {}
    for role in ("optimizer", "white_box"):
        row = rows[role]
        held[role] = row["parameters"] + row["optimizer_state"] + row["activations"]
        grown[role] = row["peak_resident"] - row["resident_after_imports"]
    return {
        "held": held["white_box"] / held["optimizer"],
        "peak_resident_beyond_imports": grown["white_box"] / grown["optimizer"],
        "peak_resident": rows["white_box"]["peak_resident"] / rows["optimizer"]["peak_resident"],
    }


def show(model: str, rows: dict[str, dict[str, float]]) -> None:
    """Humans' tables."""
    for role, row in rows.items():
        table = Table("MiB", role, title=model)
        for name, value in row.items():
            table.add_row(name.replace("_", " "), f"{value:,.1f}")
        Console().print(table)
    table = Table("white box / optimizer", "ratio")
    for name, value in ratios(rows).items():
        table.add_row(name.replace("_", " "), f"{value:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
