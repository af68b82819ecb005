"""How fast a population's prompts are encoded, stage by stage from the paper's procedure.

    python -m benchmarks.oracle_speed --model ViT-B-32 --classes 10 100 1000

Every stage computes the same text features of 40 candidates x C classes. A stage that would take
minutes is measured on fewer candidates; it is linear in them, and the table says on how many.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.machine import matmul_peak, seconds_of
from benchmarks.models import load_or_draw
from benchmarks.record import commit, write_result
from benchmarks.text_work import class_names, logits_of, tower_of, weights_of
from craft_ray.config.oracle import OracleConfig
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.devices import DTYPES, TOKENS_ON_CPU, Precision
from craft_ray.oracle.loading import LoadedModel
from craft_ray.oracle.text.encoder import TextTower
from craft_ray.oracle.text.layout import slices
from craft_ray.oracle.text.prompts import PromptTokens, tokenize_task

TOKENS_MEASURED = 40_000
"""About how many tokens a slow stage is measured on."""
NOISE = 0.1

Encode = Callable[[PromptTokens, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Stage:
    """One way to compute the features.

    Attributes:
        work: tokens and FLOP of the linear layers for one candidate.
    """

    name: str
    precision: str
    encode: Encode
    work: Callable[[PromptTokens], tuple[int, float]]


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    classes: int
    stage: str
    precision: str
    candidates_measured: int
    seconds: float
    """For all candidates."""
    ratio: float
    """To the first stage."""
    max_logit_difference: float
    """To the first stage, on the scale of 100 * cosine."""
    tokens: int
    flops_per_s: float
    share_of_peak: float


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.oracle_speed", description=__doc__)
    parser.add_argument("--model", default="ViT-B-32", help="embedded, or a name of open_clip")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--candidates", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(options.threads)
    loaded = load_or_draw(options.model, options.device)
    precisions: list[Precision] = (
        ["fp32", "bf16"] if options.device == "cpu" else ["fp32", "bf16", "fp16"]
    )
    peaks: dict[str, float] = {
        name: matmul_peak(DTYPES[name], options.device) for name in precisions
    }
    rows = []
    for num_classes in options.classes:
        rows += measure(loaded, num_classes, options.candidates, options.device, peaks)
        show(rows, options.model, options.candidates)
    result = {
        "model": options.model,
        "candidates": options.candidates,
        "matmul_peak_flops_per_s": peaks,
        "rows": [asdict(row) for row in rows],
    }
    suffix = "" if options.device == "cpu" else f"_{options.device}"
    name = f"oracle_speed_{options.model.replace('/', '-')}{suffix}"
    print(write_result(name, commit_id, result, options.device, module="oracle_speed"))


def measure(
    loaded: LoadedModel,
    num_classes: int,
    num_candidates: int,
    device: str,
    peaks: dict[str, float],
) -> list[Row]:
    """All stages for one number of classes."""
    first = TextTower(loaded, OracleConfig(text_path="plain"))
    tokens = tokenize_task(
        ClassificationTask(class_names(num_classes)), loaded.tokenizer, first.context_length
    )
    generator = torch.Generator().manual_seed(0)
    start_LE = first.embed(tokens.prefix_L).cpu()
    noise = torch.randn((num_candidates, *start_LE.shape), generator=generator)
    contexts = (start_LE + NOISE * noise).to(device)
    rows: list[Row] = []
    expected: torch.Tensor | None = None
    for stage in stages(loaded, list(peaks)):
        per_candidate, flops = stage.work(tokens)
        count = max(1, min(num_candidates, TOKENS_MEASURED // per_candidate))
        if "shared" in stage.name:
            count = num_candidates  # what is claimed is measured whole
        part = contexts[:count]
        is_slow = count * per_candidate > TOKENS_MEASURED // 2
        seconds, features = time_stage(stage, tokens, part, device, is_slow=is_slow)
        logits = logits_of(features[:1])
        expected = logits if expected is None else expected
        seconds *= num_candidates / count
        rate = num_candidates * flops / seconds
        rows.append(
            Row(
                classes=num_classes,
                stage=stage.name,
                precision=stage.precision,
                candidates_measured=count,
                seconds=seconds,
                ratio=rows[0].seconds / seconds if rows else 1.0,
                max_logit_difference=float((logits - expected).abs().max()),
                tokens=num_candidates * per_candidate,
                flops_per_s=rate,
                share_of_peak=rate / peaks[stage.precision],
            )
        )
    return rows


def time_stage(
    stage: Stage, tokens: PromptTokens, contexts_KLE: torch.Tensor, device: str, *, is_slow: bool
) -> tuple[float, torch.Tensor]:
    """Seconds and the features [K, C, F]; a slow stage runs once and is not warmed up."""
    features = torch.empty(0)

    def work() -> None:
        nonlocal features
        features = stage.encode(tokens, contexts_KLE)

    seconds = seconds_of(work, device, repeats=1 if is_slow else 3, warm_up=not is_slow)
    return seconds, features


def stages(loaded: LoadedModel, precisions: Sequence[str]) -> list[Stage]:
    """From the paper's procedure to the fast path, each exact."""
    plain = TextTower(loaded, OracleConfig(text_path="plain"))
    length = plain.context_length

    def one_by_one(tokens: PromptTokens, contexts_KLE: torch.Tensor) -> torch.Tensor:
        return torch.cat([plain.encode(tokens, context[None]) for context in contexts_KLE])

    layers = [weights_of(block) for block in tower_of(loaded).transformer.resblocks]
    all_weights = sum(into + rest for into, rest in layers)

    def full(tokens: PromptTokens) -> tuple[int, float]:
        count = len(tokens.suffixes) * length
        return count, 2.0 * count * all_weights

    def cut(tokens: PromptTokens) -> tuple[int, float]:
        count = len(tokens.suffixes) * (1 + len(tokens.prefix_L) + tokens.longest_suffix)
        return count, 2.0 * count * all_weights

    def shared(tokens: PromptTokens) -> tuple[int, float]:
        count = 1 + len(tokens.prefix_L) + sum(len(suffix) for suffix in tokens.suffixes)
        # The last layer needs keys and values of all tokens, the rest for the end tokens.
        skipped = (count - len(tokens.suffixes)) * layers[-1][1]
        return count, 2.0 * (count * all_weights - skipped)

    result = [
        Stage(f"one by one, {length} tokens", "fp32", one_by_one, full),
        Stage(f"one batch, {length} tokens", "fp32", plain.encode, full),
        Stage("one batch, cut at the longest end", "fp32", CutEncoder(loaded), cut),
    ]
    for precision in precisions:
        config = OracleConfig.model_validate({"text_path": "shared_prefix", "precision": precision})
        encode = TextTower(loaded, config).encode
        result.append(Stage("shared prefix, no padding", precision, encode, shared))
    return result


class CutEncoder:
    """The model's own blocks on prompts that are cut at the longest end token of the task."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._tower = tower_of(loaded)

    @torch.inference_mode()
    def __call__(self, tokens: PromptTokens, contexts_KLE: torch.Tensor) -> torch.Tensor:
        """[K, C, F]."""
        tower, device = self._tower, contexts_KLE.device
        length = 1 + contexts_KLE.shape[1] + tokens.longest_suffix
        mask = tower.attn_mask[:length, :length]
        suffix_CT = torch.nn.utils.rnn.pad_sequence(list(tokens.suffixes), batch_first=True)
        suffix_CTE = tower.token_embedding(suffix_CT.to(device))
        ends_C = torch.tensor([len(suffix) - 1 for suffix in tokens.suffixes], device=device)
        ends_C += 1 + contexts_KLE.shape[1]
        sos_E = tower.token_embedding(tokens.frame.start.to(device))
        features = []
        prompts_per_forward = TOKENS_ON_CPU // length
        for part in slices(len(contexts_KLE), prompts_per_forward // len(suffix_CTE)):
            context_KLE = contexts_KLE[part]
            shape = (len(context_KLE), len(suffix_CTE), -1, -1)
            rows = torch.cat(
                [
                    sos_E.expand(*shape[:2], 1, -1),
                    context_KLE[:, None].expand(shape),
                    suffix_CTE.expand(shape),
                ],
                dim=2,
            ).flatten(0, 1)
            x = tower.transformer(rows + tower.positional_embedding[:length], attn_mask=mask)
            ends = ends_C.repeat(len(context_KLE))
            x = tower.ln_final(x[torch.arange(len(x), device=device), ends])
            features.append(x @ tower.text_projection)
        return torch.unflatten(torch.cat(features), 0, (len(contexts_KLE), -1))


def show(rows: Sequence[Row], model: str, candidates: int) -> None:
    """A human's table."""
    table = Table(title=f"{model}, {candidates} candidates")
    for column in ("classes", "stage", "precision", "seconds", "ratio", "max |dlogit|", "of peak"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for row in rows:
        note = "" if row.candidates_measured == candidates else f" ({row.candidates_measured})"
        cells: list[Any] = [row.classes, row.stage + note, row.precision, f"{row.seconds:.3f}"]
        cells += [f"{row.ratio:.1f}", f"{row.max_logit_difference:.1e}"]
        table.add_row(*map(str, cells), f"{row.share_of_peak:.0%}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
