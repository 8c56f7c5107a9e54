"""Importing the model libraries before several threads do so at once.

They import their parts when these are first asked for, and find each other half imported when two threads ask.
"""


def import_model_libraries() -> None:
    """Import the parts of accelerate, transformers, diffusers and peft that the models here are made of."""
    import accelerate
    from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
    from peft import LoraConfig
    from transformers import AutoConfig, AutoProcessor, AutoTokenizer, PreTrainedModel

    assert accelerate.Accelerator
    assert AutoencoderKL and DiffusionPipeline and UNet2DConditionModel and LoraConfig
    assert AutoConfig and AutoProcessor and AutoTokenizer and PreTrainedModel
