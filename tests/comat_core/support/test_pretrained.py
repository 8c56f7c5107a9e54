"""Loading of frozen checkpoints, and the checkpoints that must be refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BlipForConditionalGeneration, BlipForQuestionAnswering, GitForCausalLM

from comat_core.support.errors import UserError
from comat_core.support.pretrained import load_frozen_model, load_processor
from tests.tiny_captioners import save_tiny_blip, save_tiny_git


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return save_tiny_blip(tmp_path / "blip")


def test_loaded_model_is_frozen_and_in_evaluation_mode(folder: str) -> None:
    model = load_frozen_model(BlipForConditionalGeneration, folder)

    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_asked_precision_is_the_one_loaded(folder: str) -> None:
    model = load_frozen_model(BlipForConditionalGeneration, folder, dtype=torch.float16)

    assert {parameter.dtype for parameter in model.parameters()} == {torch.float16}


def test_weights_are_those_on_disk(folder: str) -> None:
    model = load_frozen_model(BlipForConditionalGeneration, folder)
    saved = load_file(f"{folder}/model.safetensors")

    name = "text_decoder.bert.encoder.layer.0.attention.self.query.weight"
    torch.testing.assert_close(model.state_dict()[name], saved[name])


def test_a_question_answering_model_is_no_captioner(folder: str) -> None:
    """Its weights would load without a complaint: the captioner's modules are a subset of its own."""
    config_file = Path(folder, "config.json")
    config = json.loads(config_file.read_text())
    config_file.write_text(json.dumps({**config, "architectures": ["BlipForQuestionAnswering"]}))

    with pytest.raises(UserError, match="is a BlipForQuestionAnswering, not a BlipForConditionalGeneration"):
        load_frozen_model(BlipForConditionalGeneration, folder)


def test_another_family_is_refused_even_if_it_names_no_class(tmp_path: Path) -> None:
    folder = save_tiny_git(tmp_path / "git")
    config_file = Path(folder, "config.json")
    config = json.loads(config_file.read_text())
    config.pop("architectures")
    config_file.write_text(json.dumps(config))

    with pytest.raises(UserError, match="is a git, not a BlipForQuestionAnswering"):
        load_frozen_model(BlipForQuestionAnswering, folder)


def test_missing_weights_are_not_made_up(folder: str) -> None:
    weights_file = f"{folder}/model.safetensors"
    weights = load_file(weights_file)
    weights.pop("vision_model.post_layernorm.weight")
    save_file(weights, weights_file, metadata={"format": "pt"})

    with pytest.raises(UserError, match=r"lacks 1 weights .* vision_model\.post_layernorm\.weight"):
        load_frozen_model(BlipForConditionalGeneration, folder)


def test_damaged_weights_are_named_in_one_line(folder: str) -> None:
    weights_file = Path(folder, "model.safetensors")
    weights_file.write_bytes(weights_file.read_bytes()[:1000])

    with pytest.raises(UserError, match="cannot load the model") as caught:
        load_frozen_model(BlipForConditionalGeneration, folder)
    assert folder in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot load the model"):
        load_frozen_model(GitForCausalLM, str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="cannot load the model"):
        load_processor(str(tmp_path / "nothing"))
