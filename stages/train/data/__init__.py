"""What a step is made of: prompts, entities, latents and pairs, found by their place."""
