"""LoRA weights as files: diffusers' own format, and those of other programs."""
