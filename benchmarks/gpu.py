"""What a GPU gives: text features, images, launches and memory, against what it could give.

    python -m benchmarks.gpu --model ViT-B-16

Needs no network and no Ray: a checkout, torch, open_clip and pydantic. Weights are drawn, since
speed does not depend on them. On an H100 it takes some five minutes; `--device cpu --model embedded
--classes 10 --candidates 4` shows in a minute that it runs.

Each row encodes all candidates in chunks, as a pool does. "Needed" arithmetic follows from the
lengths of the prompts, "used" is counted while it runs, and the share of the peak is of the needed.
The serial procedure encodes one candidate after the other, 77 tokens a prompt, in the same
precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from benchmarks.launches import launches_of
from benchmarks.machine import matmul_peak, seconds_of
from benchmarks.models import load_or_draw
from benchmarks.record import RESULTS, commit, device_name, write_result
from benchmarks.text_work import class_names, logits_of, needed_flops, used_flops
from craft_ray.config.oracle import OracleConfig
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.devices import DTYPES, Precision, compute_in_full_precision
from craft_ray.oracle.loading import LoadedModel
from craft_ray.oracle.text.encoder import TextTower
from craft_ray.oracle.text.prompts import PromptTokens, tokenize_task

NOMINAL_BF16 = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "4090": 165e12,
}
"""Dense FLOP/s by a part of the card's name, from the vendor's data sheets; the first counts."""
PRODUCTS: dict[str, Precision] = {"bf16": "bf16", "tf32": "fp32", "fp32": "fp32"}
SERIAL_PROMPTS = {"cpu": 20, "cuda": 2000}
"""About how many prompts the serial procedure is measured on; it is linear in them."""
IMAGES = {"cpu": 12, "cuda": 2048}
NOISE = 0.1
RUNS_UNTIL_CAPTURED = 3


@dataclass(frozen=True)
class TextRow:
    """Text features of all candidates."""

    classes: int
    precision: str
    max_tokens: int
    """Of a forward."""
    seconds: float
    without_graphs: float
    """Seconds with every kernel launched by itself."""
    candidates_per_s: float
    to_serial: float
    """How many times as fast as the serial procedure."""
    max_logit_difference: float
    """To the serial procedure in fp32, on the scale of 100 * cosine."""
    used_to_needed: float
    flops_per_s: float
    """Needed ones."""
    share_of_measured: float
    """Of a large matrix product in the same precision on this card."""
    share_of_nominal: float | None
    """Of the card's data sheet; None for other precisions than bf16 and for unknown cards."""
    launches: int
    """Of kernels for one chunk, where they are no CUDA graph."""
    peak_mib: float | None
    """Of the card's memory, without the weights."""


@dataclass(frozen=True)
class ImageRow:
    """Images from pixels in memory to features."""

    precision: str
    images_per_s: float
    peak_mib: float | None


def main(words: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--model", default="ViT-B-16", help="embedded, or a name of open_clip")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--classes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--candidates", type=int, default=40)
    parser.add_argument("--chunk", type=int, default=40, help="candidates of one question")
    parser.add_argument("--max-tokens", type=int, nargs="+", default=[8192, 32768, 131072])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result")
    options = parser.parse_args(words)
    commit_id = commit()
    device = options.device
    compute_in_full_precision()
    loaded = load_or_draw(options.model, device)
    peaks = {}
    texts: list[TextRow] = []
    images: list[ImageRow] = []
    for name in PRODUCTS:
        if name == "tf32" and device == "cpu":
            continue
        with products_in(name):
            peaks[name] = matmul_peak(DTYPES[PRODUCTS[name]], device)
            images.append(measure_images(loaded, name, device))
            for num_classes in options.classes:
                work = TextWork(loaded, num_classes, options.candidates, options.chunk, device)
                serial = work.serial_seconds(name)
                for max_tokens in options.max_tokens:
                    texts.append(work.row(name, max_tokens, serial, peaks[name]))
    print_table(texts)
    print_table(images)
    result = {
        "model": options.model,
        "candidates": options.candidates,
        "chunk": options.chunk,
        "matmul_peak_flops_per_s": peaks,
        "nominal_bf16_flops_per_s": nominal_bf16(device_name(device)),
        "texts": [asdict(row) for row in texts],
        "images": [asdict(row) for row in images],
    }
    name = f"gpu_{options.model.replace('/', '-')}"
    print(write_result(name, commit_id, result, device, module="gpu", folder=options.out))


@contextmanager
def products_in(name: str) -> Iterator[None]:
    """With TensorFloat-32 for `tf32`, which nothing else takes. Models are loaded without: what
    they prove then, they prove in float32."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = name == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def nominal_bf16(card: str) -> float | None:
    """Dense bf16 FLOP/s of a card, if it is known."""
    return next((peak for part, peak in NOMINAL_BF16.items() if part in card), None)


class TextWork:
    """All candidates of a task, in chunks.

    Args:
        loaded: the model.
        num_classes: C.
        num_candidates: K.
        chunk: candidates of one question.
        device: torch's name of it.
    """

    def __init__(
        self, loaded: LoadedModel, num_classes: int, num_candidates: int, chunk: int, device: str
    ) -> None:
        self._loaded, self._device = loaded, device
        tower = self._plain("fp32")
        task = ClassificationTask(class_names(num_classes))
        self._tokens: PromptTokens = tokenize_task(task, loaded.tokenizer, tower.context_length)
        start_LE = tower.embed(self._tokens.prefix_L).cpu()
        generator = torch.Generator().manual_seed(0)
        noise_KLE = torch.randn((num_candidates, *start_LE.shape), generator=generator)
        contexts_KLE = (start_LE + NOISE * noise_KLE).to(device)
        self._chunks: Sequence[torch.Tensor] = torch.split(contexts_KLE, chunk)
        self._num_candidates, self._num_classes = num_candidates, num_classes
        self._expected = logits_of(tower.encode(self._tokens, contexts_KLE[:1]))

    def _plain(self, name: str) -> TextTower:
        settings = {"precision": PRODUCTS[name], "text_path": "plain"}
        return TextTower(self._loaded, OracleConfig.model_validate(settings))

    def _fast(self, name: str, max_tokens: int, *, graphs: bool) -> TextTower:
        settings = {"precision": PRODUCTS[name], "max_tokens_per_forward": max_tokens}
        config = OracleConfig.model_validate({**settings, "text_path": "shared_prefix"})
        with products_in("fp32"):
            return TextTower(self._loaded, config, "tiles", graphs=graphs)

    def serial_seconds(self, name: str) -> float:
        """Of the paper's procedure, for all candidates."""
        tower = self._plain(name)
        prompts = SERIAL_PROMPTS[self._device]
        count = min(self._num_candidates, max(1, prompts // self._num_classes))
        contexts_KLE = torch.cat(list(self._chunks))[:count]

        def work() -> None:
            for context_LE in contexts_KLE:
                tower.encode(self._tokens, context_LE[None])

        seconds = seconds_of(work, self._device, repeats=1, warm_up=self._device == "cuda")
        return seconds * self._num_candidates / count

    def row(self, name: str, max_tokens: int, serial_seconds: float, peak: float) -> TextRow:
        """One line of the table."""
        eager = self._fast(name, max_tokens, graphs=False)

        def encode(tower: TextTower, chunks: Sequence[torch.Tensor]) -> None:
            for contexts_KLE in chunks:
                tower.encode(self._tokens, contexts_KLE)

        without_graphs = seconds_of(lambda: encode(eager, self._chunks), self._device, repeats=3)
        launches = launches_of(lambda: encode(eager, self._chunks[:1])).total()
        used = used_flops(lambda: encode(eager, self._chunks))
        tower = self._fast(name, max_tokens, graphs=True)
        for _ in range(RUNS_UNTIL_CAPTURED):
            encode(tower, self._chunks)
        before = start_of_memory(self._device)
        seconds = seconds_of(lambda: encode(tower, self._chunks), self._device, repeats=3)
        features_KCF = tower.encode(self._tokens, self._chunks[0])
        difference = (logits_of(features_KCF[:1]) - self._expected).abs().max()
        length = self._chunks[0].shape[1]
        needed = self._num_candidates * needed_flops(self._loaded, self._tokens, length)
        rate = needed / seconds
        nominal = nominal_bf16(device_name(self._device)) if name == "bf16" else None
        return TextRow(
            classes=self._num_classes,
            precision=name,
            max_tokens=max_tokens,
            seconds=seconds,
            without_graphs=without_graphs,
            candidates_per_s=self._num_candidates / seconds,
            to_serial=serial_seconds / seconds,
            max_logit_difference=float(difference),
            used_to_needed=used / needed,
            flops_per_s=rate,
            share_of_measured=rate / peak,
            share_of_nominal=None if nominal is None else rate / nominal,
            launches=launches,
            peak_mib=peak_since(before),
        )


def measure_images(loaded: LoadedModel, name: str, device: str) -> ImageRow:
    """Random pixels through the oracle: upload, normalisation and image tower."""
    config = OracleConfig.model_validate({"precision": PRODUCTS[name]})
    with products_in("fp32"):
        oracle = ClipOracle(loaded, config)
    rng = np.random.default_rng(0)
    shape = (IMAGES[device], 3, loaded.image_size, loaded.image_size)

    def encode_new_ones() -> float:
        handle = oracle.register_images(rng.integers(0, 256, shape, dtype=np.uint8))
        return seconds_of(lambda: oracle.expect(handle), device, repeats=1, warm_up=False)

    encode_new_ones()
    before = start_of_memory(device)
    seconds = encode_new_ones()
    return ImageRow(name, IMAGES[device] / seconds, peak_since(before))


def start_of_memory(device: str) -> int | None:
    """Bytes in use of the card, from which on the peak is counted; None on a CPU."""
    if device != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def peak_since(before: int | None) -> float | None:
    """MiB over those bytes."""
    return None if before is None else (torch.cuda.max_memory_allocated() - before) / 2**20


def print_table(rows: Sequence[TextRow] | Sequence[ImageRow]) -> None:
    """Without the package that other benchmarks print with: it may not be there."""
    names = [field.name for field in fields(rows[0])]
    print("  ".join(names))
    for row in rows:
        cells = (getattr(row, name) for name in names)
        shown = (f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells)
        print("  ".join(cell.rjust(len(name)) for cell, name in zip(shown, names, strict=True)))


if __name__ == "__main__":
    main()
