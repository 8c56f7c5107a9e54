"""Rewards: frozen models that say how well images fit their prompts, and whose gradient trains the online model.

Concept activation (equation 2) is the paper's one reward and has its place among the losses; these come beside it or
instead of it.
"""
