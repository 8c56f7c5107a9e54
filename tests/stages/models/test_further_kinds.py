"""A captioner, a discriminator and a reward of a new kind are a file each and a name in a union; all else follows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

# What a user's own fork would say in the three unions; in a process of its own, since the settings are built from them.
PROGRAM = """
import contextlib, io, json, sys
from typing import Annotated
from pydantic import Field
import stages.models.captioners as captioners, stages.models.discriminators as discriminators
import stages.models.rewards as rewards
from tests.stages.models.toy_captioner import Colours
from tests.stages.models.toy_discriminator import Edges
from tests.stages.models.toy_reward import WarmthSettings
from stages.models.rewards.clip_similarity import ClipSimilaritySettings
captioners.AnyCaptioner = Annotated[captioners.Blip | Colours, Field(discriminator="kind")]
discriminators.AnyDiscriminator = Annotated[discriminators.Denoiser | Edges, Field(discriminator="kind")]
rewards.AnyReward = Annotated[ClipSimilaritySettings | WarmthSettings, Field(discriminator="kind")]

from flows.command_line.cli import main
CAPTIONING = "train.captioning={kind: colours, palette: org/palette}"
NETWORK = "train.discriminator.network={kind: edges, model: org/edges}"
REWARD = "train.rewards={warm: {kind: warmth, model: org/warmth, weight: 0.5}}"
SETTINGS = [CAPTIONING, NETWORK, REWARD, "train.weights={attribute_region: 0, attribute_pixel: 0}"]
CHOSEN = [word for setting in SETTINGS for word in ("--set", setting)]

def said(*words):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main(list(words))
    return [code, out.getvalue() + errors.getvalue()]

found = {
    "show": said("show", "miniature", *CHOSEN),
    "mistake": said("show", "miniature", "--set", "train.captioning.kind=color"),
    "models": said("models", "miniature", *CHOSEN),
}

import torch
from stages.plan.pipeline import make_plan
from stages.plan.presets import load_preset
from stages.train.memory_plan import plan_memory
from stages.train.model_card import write_model_card
from stages.train.models import load_models
config = load_preset("miniature", SETTINGS).sections["train"]
plan = plan_memory(config, load_models(config, torch.device("cpu")))
found |= {
    "parameters": plan.parameters,
    "activations": plan.activations,
    "memory": str(plan),
    "card": write_model_card(config, adapted=False, usage=()),
    "keys": [make_plan(load_preset("miniature", some).sections).by_name["train"].key for some in (SETTINGS, ())],
}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    finished = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=ROOT, check=False)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def test_a_preset_may_name_them(found: dict[str, Any]) -> None:
    code, shown = found["show"]
    assert code == 0, shown
    assert "kind: colours" in shown and "kind: edges" in shown and "kind: warmth" in shown
    assert "choose one of: blip, colours" in found["mistake"][1]
    assert found["keys"][0] != found["keys"][1]


def test_their_checkpoints_are_listed_with_the_settings_that_name_them(found: dict[str, Any]) -> None:
    code, listed = found["models"]
    assert code == 0, listed
    assert "org/palette\n" in listed and "train.captioning.palette" in listed
    assert "org/edges\n" in listed and "train.discriminator.network.model" in listed
    assert "org/warmth\n" in listed and "train.rewards.warm.model" in listed


def test_the_memory_plan_counts_their_weights_and_activations(found: dict[str, Any]) -> None:
    assert found["parameters"]["captioner"] == 4 * (3 * 3 + 3)
    assert found["parameters"]["discriminator"] == 4 * (3 * 4 * 9 + 4)
    assert found["parameters"]["reward/warm"] == 4 * (3 + 1)
    assert found["activations"]["captioner"] > 0
    assert found["activations"]["reward/warm"] > 0
    assert found["activations"]["discriminator"] > 0
    assert "captioner" in found["memory"] and "discriminator" in found["memory"]


def test_the_model_card_names_them(found: dict[str, Any]) -> None:
    assert "| captioner | colours: captioner (MIT), org/palette |" in found["card"]
    assert "| discriminator | edges: org/edges |" in found["card"]
    assert "| reward/warm | warmth times 0.5: org/warmth |" in found["card"]
