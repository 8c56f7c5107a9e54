"""What the numbers were measured on."""

import os
import platform
from pathlib import Path

import diffusers
import peft
import torch
import transformers


def describe_machine(device: torch.device) -> dict[str, object]:
    """The device, the processor and the libraries; all that must be alike for numbers to stand in one file."""
    described: dict[str, object] = {
        "device": device.type,
        "processor": _processor(),
        "processor_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        described |= {
            "gpu": properties.name,
            "gpu_bytes": properties.total_memory,
            "gpu_multiprocessors": properties.multi_processor_count,
            "gpu_capability": f"{properties.major}.{properties.minor}",
            "gpus": torch.cuda.device_count(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return described


def _processor() -> str:
    """Its name, where the system says it."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
