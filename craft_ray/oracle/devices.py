"""What the last bits of an answer hang on beside the model: the device and the libraries."""

from __future__ import annotations

import torch

from craft_ray.oracle.open_clip_light import open_clip


def compute_in_full_precision() -> None:
    """Of this process: float32 on CUDA is float32. Convolutions are TensorFloat-32 by default, with
    10 bits of mantissa, and a probe that compares two ways of computing would see that."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


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
