"""Rebuild every model of the miniature world from nothing, on a CPU: `comat miniature`."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL

from comat_core.files.json_files import read_json
from comat_core.files.whole_files import whole_folder, write_whole
from comat_core.support.errors import UserError
from comat_core.support.memory.memory_allocator import keep_freed_memory
from data.miniature_world.accuracy import measure_accuracy
from data.miniature_world.model_card import write_model_card
from data.miniature_world.recipes.autoencoder import train_autoencoder
from data.miniature_world.recipes.captioner import train_captioner
from data.miniature_world.recipes.diffusion import train_pipeline
from data.miniature_world.recipes.dino import train_dino
from data.miniature_world.recipes.fitting_state import saved_below
from data.miniature_world.recipes.git import train_git
from data.miniature_world.recipes.judge import train_judge
from data.miniature_world.recipes.segmenter import train_segmenter
from data.miniature_world.recipes.stable_diffusion_3 import train_flow_pipeline
from data.miniature_world.recipes.visual_questions import train_visual_question_model
from data.miniature_world.seeds import SEEDS

BUILDERS: Final[dict[str, Callable[[Path], list[Any]]]] = {
    "base": lambda _: [train_pipeline(train_autoencoder(SEEDS["base"]), SEEDS["base"])],
    "captioner": lambda target: list(train_captioner(_autoencoder(target), SEEDS["captioner"])),
    "vqa": lambda target: list(train_visual_question_model(_autoencoder(target), SEEDS["vqa"])),
    "judge": lambda _: list(train_judge(SEEDS["judge"])),
    "segmenter": lambda _: list(train_segmenter(SEEDS["segmenter"])),
    "git": lambda target: list(train_git(_autoencoder(target), SEEDS["git"])),
    "dino": lambda _: list(train_dino(SEEDS["dino"])),
    "sd3": lambda target: [train_flow_pipeline(_autoencoder(target), SEEDS["sd3"])],
}


def _autoencoder(target: Path) -> Any:
    """Load the base model's autoencoder: the other base has the same, captioners and VQA model read its images."""
    folder = target / "base" / "vae"
    if not folder.exists():
        raise UserError("no base model", str(folder), "build it first: comat miniature base")
    return AutoencoderKL.from_pretrained(folder).eval()


def build(target: Path, names: list[str] | None = None, state: Path | None = None) -> None:
    """Train the named models, or all, and save each to its folder below `target`, then measure and describe them.

    Args:
        state: folder in which each training keeps what a repeated call goes on from; None keeps nothing.

    Raises:
        UserError: a name is unknown.
    """
    chosen = names or list(BUILDERS)
    unknown = sorted(set(chosen) - set(BUILDERS))
    if unknown:
        raise UserError(f"unknown model {unknown[0]!r}", "comat miniature", f"choose from {', '.join(BUILDERS)}")
    keep_freed_memory()
    for name in chosen:
        started = time.monotonic()
        with saved_below(state / name if state is not None else None):
            parts = BUILDERS[name](target)
        _save(parts, target / name)
        _record_build(target, name, time.monotonic() - started)
    write_model_card(target, measure_accuracy(target))


def _save(parts: list[Any], folder: Path) -> None:
    """Save into a folder beside the final one and swap, so that a killed build leaves the old model whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as unfinished:
        for part in parts:
            part.save_pretrained(unfinished)
        shutil.rmtree(folder, ignore_errors=True)


def _record_build(target: Path, name: str, seconds: float) -> None:
    path = target / "builds.json"
    builds = read_json(path, "record of builds", shape="object") if path.exists() else {}
    builds[name] = {"seed": SEEDS[name], "minutes": round(seconds / 60, 1), "threads": torch.get_num_threads()}
    write_whole(path, (json.dumps(builds, indent=2, sort_keys=True) + "\n").encode())
