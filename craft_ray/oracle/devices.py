"""What an answer hangs on beside the model: the device, the libraries, and what settings that are
`auto` mean there."""

from __future__ import annotations

from typing import Literal

import torch

from craft_ray.config.oracle import Auto, OracleConfig
from craft_ray.oracle.open_clip_light import open_clip

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
TOKENS_ON_CPU = 8192
MOST_TOKENS_ON_GPU = 131_072
"""With more, nothing is gained: kernels are long enough to fill any GPU."""
SHARE_OF_MEMORY = 1 / 8
"""Images, their features and other replicas on the same GPU need some as well."""
BYTES_OF_A_TOKEN = 64
"""For each unit of the tower's width, in float32 twice as many: activations of a layer."""


def compute_in_full_precision() -> None:
    """Of this process: fp32 on CUDA is float32, in matrix products and in convolutions. The latter
    are TensorFloat-32 by default, with 10 bits of mantissa: a probe that compares two ways of
    computing would see that, and who gives up exactness for speed is better served by bf16."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def precision_on(device: torch.device, wished: Precision | Auto) -> Precision:
    """In what matrix products are computed."""
    if wished != "auto":
        return wished
    if device.type != "cuda":
        return "fp32"
    with torch.cuda.device(device):
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "fp32"


def precision_notes(wished: Precision | Auto, used: Precision) -> tuple[str, ...]:
    """A sentence where nobody has asked for less than float32."""
    if wished != "auto" or used == "fp32":
        return ()
    return (f"Matrix products are {used} on this GPU; oracle.precision=fp32 takes float32.",)


def tokens_per_forward(device: torch.device, config: OracleConfig, width: int) -> int:
    """At most so many tokens go through the text tower together.

    Args:
        device: of the tower. On a GPU all of its memory counts, whatever of it is free: the number
            shows in the last bits of answers, which must not depend on when a replica is started.
        config: with the wished number and the precision.
        width: E of the tower.
    """
    if config.max_tokens_per_forward != "auto":
        return config.max_tokens_per_forward
    if device.type != "cuda":
        return TOKENS_ON_CPU
    total = torch.cuda.get_device_properties(device).total_memory
    half = precision_on(device, config.precision) != "fp32"
    of_a_token = BYTES_OF_A_TOKEN * width * (1 if half else 2)
    fitting = max(int(total * SHARE_OF_MEMORY) // of_a_token, 1)
    # A power of two: GPUs of one kind cut alike, though their memory differs a little.
    return min(1 << (fitting.bit_length() - 1), MOST_TOKENS_ON_GPU)


def device_and_versions(device: torch.device) -> str:
    """Equal ones compute alike: kernels are picked by the class of the device and by the versions
    of the libraries."""
    if device.type == "cuda":
        hardware = f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    else:
        hardware = f"{device.type} {torch.backends.cpu.get_cpu_capability()}"
    return f"{hardware}, torch {torch.__version__}, open_clip {open_clip.__version__}"


def works(device: torch.device) -> bool:
    """False if the device can compute nothing more in this process: a fault on a GPU stays."""
    try:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def best_device() -> str:
    """torch's name of a GPU if there is one, else of the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
