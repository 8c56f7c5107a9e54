"""Split a prompt into regions, each with a description of its own: the planner of RPG (arXiv 2401.11708).

A local instruction model through transformers plans, or, without one, the parser: one column for each noun phrase.

    python -m examples.plan_regions --prompt "a red car to the right of a green truck" --output plan.json
    python -m examples.plan_regions --model Qwen/Qwen2.5-7B-Instruct --prompt "…" --output plan.json
    python -m examples.regional_prompts --base stable-diffusion-v1-5/stable-diffusion-v1-5 --plan plan.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from comat_core.language.grammar.phrases import noun_phrase_spans
from comat_core.language.parsers import load_parser
from comat_core.language.spatial_prompts import read_relation
from comat_core.support.errors import UserError, first_problem
from examples.region_plan import Region, RegionPlan
from stages.models.model_references import DEFAULT_PARSER

ON_THE_RIGHT = "right"
TASK = """You plan an image for a painter who paints it column by column, from left to right.
Split the description into one to four columns. Describe what each of them shows in a short phrase that repeats every
attribute of its objects and names nothing of the other columns. Give wide things a larger share of the width.
Answer with JSON alone, in this form:
{"regions": [{"prompt": "a red car on a street", "share": 1.0}, {"prompt": "a green truck", "share": 1.5}]}"""


def plan_by_parser(prompt: str, parser: str) -> RegionPlan:
    """Give each noun phrase a column, in the prompt's order; the first of two that stands on the right comes last.

    What stands above or below has no column of its own: the whole image's prompt is left to say it.
    """
    nlp = load_parser(parser)
    (spans,) = noun_phrase_spans([prompt], nlp)
    phrases = [prompt[start:end] for start, end in spans] or [prompt]
    relation = read_relation(nlp(prompt))
    if len(phrases) == 2 and relation is not None and ON_THE_RIGHT in (relation.locality or ""):
        phrases.reverse()
    return RegionPlan(prompt=prompt, regions=tuple(Region(prompt=phrase) for phrase in phrases))


def plan_by_model(prompt: str, model: Any, tokenizer: Any, *, max_new_tokens: int = 512) -> RegionPlan:
    """Let an instruction model plan, without chance.

    Args:
        model: a transformers causal language model.
        tokenizer: its own, with a chat template.

    Raises:
        UserError: the model's answer is no plan.
    """
    messages = [{"role": "user", "content": f"{TASK}\n\nDescription: {prompt}"}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    inputs = inputs.to(model.device)
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
    answer = tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return read_answer(prompt, answer)


def read_answer(prompt: str, answer: str) -> RegionPlan:
    """Read the JSON in a model's answer, whatever stands around it.

    Raises:
        UserError: there is none, or it is no plan.
    """
    start, end = answer.find("{"), answer.rfind("}") + 1
    try:
        regions = json.loads(answer[start:end] if start >= 0 else answer)["regions"]
        return RegionPlan.model_validate({"prompt": prompt, "regions": regions})
    except ValidationError as error:
        problem = first_problem(error, "the plan")
    except (ValueError, KeyError, TypeError):
        problem = "no JSON with regions"
    raise UserError(
        f"the model's answer is no plan, {problem}", repr(answer[:80]), "use a larger model, or plan without one"
    )


def main() -> None:
    arguments = _arguments()
    if arguments.model is None:
        plan = plan_by_parser(arguments.prompt, arguments.parser)
    else:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(arguments.model, device_map="auto", use_safetensors=True)
        plan = plan_by_model(arguments.prompt, model, AutoTokenizer.from_pretrained(arguments.model))
    plan.write(arguments.output)
    print(arguments.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", required=True, help="of the whole image")
    parser.add_argument("--model", help="folder or hub id of an instruction model; without one the parser plans")
    parser.add_argument("--parser", default=DEFAULT_PARSER, help="installed spaCy pipeline")
    parser.add_argument("--output", type=Path, default=Path("plan.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
