"""The attack on prompts: which are attacked, and how one model stands it."""
