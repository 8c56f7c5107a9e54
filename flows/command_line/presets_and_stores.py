"""The preset and the store that the words of a command line name."""

import argparse

from comat_core.support.errors import UserError
from stages.plan.pipeline import Plan, make_plan
from stages.plan.presets import Preset, load_preset
from stages.store.store import Store


def named_preset(options: argparse.Namespace) -> Preset:
    return load_preset(options.preset, options.settings)


def named_plan(options: argparse.Namespace) -> Plan:
    return make_plan(named_preset(options).sections)


def named_store(options: argparse.Namespace) -> Store:
    if not options.store.strip():
        raise UserError("the store's URL is empty", "--store", "give a folder or a URL")
    return Store(options.store)


def existing_store(options: argparse.Namespace) -> Store:
    store = named_store(options)
    if not store.exists():
        raise UserError("there is no store", options.store, "correct --store, or COMAT_STORE")
    return store
