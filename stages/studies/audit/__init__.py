"""Auditing a model that nobody trained here: what is audited, the preset that measures it, and what vouches for it.

The audit itself is a run of that preset, with the stages and the store of every other run.
"""
