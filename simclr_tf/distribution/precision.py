"""Which precision is the cheaper one on the devices of this process: the rule of --precision=auto.

Measured on processors with AVX-512 BF16, a step of pretraining costs 1.2 to 1.6 times less in
mixed_bfloat16 (docs/benchmarks.md). Without such instructions bfloat16 is emulated, and slower.
"""

import os
from typing import Tuple

from simclr_tf.stack import tf

# flags of /proc/cpuinfo: products of bfloat16 in one instruction
_INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16"}
_LEAST_CAPABILITY = (8, 0)  # of the GPUs whose tensor cores take bfloat16


def best_precision(use_tpu: bool = False) -> Tuple[str, str]:
    """The cheaper precision, and why.

    Args:
        use_tpu: the run is on a TPU.
    Returns:
        ("float32" or "mixed_bfloat16", the reason in words).
    """
    if use_tpu:
        return "mixed_bfloat16", "TPUs compute in bfloat16"
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return of_gpus([tf.config.experimental.get_device_details(gpu) for gpu in gpus])
    return of_processor(processor_flags(), onednn_is_on())


def of_gpus(details):
    """`best_precision` of GPUs; details: list of dicts with "compute_capability"."""
    found = [one.get("compute_capability") or (0, 0) for one in details]
    least = min(found)
    words = ".".join(map(str, least)) if any(least) else "unknown"
    if least >= _LEAST_CAPABILITY:
        return "mixed_bfloat16", f"GPUs of compute capability {words} multiply bfloat16"
    return "float32", f"only GPUs of compute capability 8 and more multiply bfloat16, here {words}"


def of_processor(flags, onednn):
    """`best_precision` of a processor.

    Args:
        flags: words such as "avx512_bf16" that name its instructions.
        onednn: whether TensorFlow uses oneDNN, which has these instructions.
    """
    found = next((words for flag, words in _INSTRUCTIONS.items() if flag in flags), "")
    if not found:
        return "float32", "this processor has neither AVX-512 BF16 nor AMX, as far as it says"
    if not onednn:
        return "float32", f"this processor has {found}, and TF_ENABLE_ONEDNN_OPTS=0 leaves it unused"  # fmt: skip
    return "mixed_bfloat16", f"this processor has {found}"


def processor_flags():
    """The instructions of the processor, a set of words; empty where the system does not say."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            lines = [line for line in file if line.startswith("flags")]
    except OSError:  # not Linux
        return set()
    return set(lines[0].partition(":")[2].split()) if lines else set()


def onednn_is_on():
    """Whether the environment leaves TensorFlow its default, which is oneDNN."""
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1").lower() not in ("0", "false")
