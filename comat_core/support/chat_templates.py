"""What a checkpoint's chat template makes of an instruction about an image."""

from typing import Any, Final

from comat_core.support.errors import UserError

_ANSWER: Final = "ANSWER"


def instruction_text(tokenizer: Any, template: str | None, instruction: str) -> str:
    """The template's text of an image and an instruction about it, up to where the answer begins.

    Args:
        template: None is the tokenizer's own.
    """
    prompt = _rendered(tokenizer, template, [_user(instruction)], add_generation_prompt=True)
    return without_added_start(tokenizer, prompt)


def answer_ending(tokenizer: Any, template: str | None, where: str) -> str:
    """The text with which the template ends an answer, without the white space after it.

    Args:
        where: what an error message calls the checkpoint.

    Raises:
        UserError: it ends answers with nothing, so that no caption would ever end.
    """
    answer = {"role": "assistant", "content": [{"type": "text", "text": _ANSWER}]}
    conversation = _rendered(tokenizer, template, [_user("instruction"), answer], add_generation_prompt=False)
    ending = conversation.rpartition(_ANSWER)[2].rstrip()
    if not ending:
        raise UserError("the chat template ends answers with nothing", where, "use a checkpoint tuned for chats")
    return ending


def without_added_start(tokenizer: Any, text: str) -> str:
    """A text without the start token that it is given by the tokenizer as well."""
    start = tokenizer.bos_token
    if start is None or tokenizer("").input_ids[:1] != [tokenizer.bos_token_id]:
        return text
    return text.removeprefix(start)


def _user(instruction: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": instruction}]}


def _rendered(tokenizer: Any, template: str | None, conversation: list[Any], *, add_generation_prompt: bool) -> str:
    return tokenizer.apply_chat_template(
        conversation, chat_template=template, add_generation_prompt=add_generation_prompt, tokenize=False
    )
