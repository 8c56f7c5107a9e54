"""`comat view`: a page on this machine that compares the base and the tuned model on any prompt."""

import argparse
from typing import Any

from comat_core.support.errors import UserError
from flows.command_line.arguments import add_command, add_preset, port
from flows.pages.view.site import Site
from stages.entities import EntitiesConfig
from stages.plan.presets import load_preset
from stages.store.store import Store
from stages.tuned.comparison import comparer_of
from stages.tuned.tuned_model import find_tuned_model


def add_to(parsers: Any) -> None:
    summary = "compare base and tuned model on any prompt, in the browser"
    command = add_command(parsers, "view", view, summary)
    add_preset(command)
    command.add_argument("--port", type=port, default=7860, metavar="N", help="on 127.0.0.1 (default: 7860; 0: any)")


def view(options: argparse.Namespace) -> int:
    """Load the model, then serve the page until Ctrl-C."""
    preset = load_preset(options.preset, options.settings)
    store = Store(options.store)
    tuned = find_tuned_model(preset, store)
    entities = preset.sections.get("entities")
    if not isinstance(entities, EntitiesConfig):
        raise UserError("the preset parses no prompts", f"preset {preset.name}", "choose one with entities")
    with comparer_of(tuned, entities) as comparer:
        try:
            _serve(options.port, Site(preset, store, comparer))
        except KeyboardInterrupt:
            print()
    return 0


def _serve(port: int, site: Site) -> None:
    from flows.pages.view.server import ViewServer  # half a second that the other commands need not wait

    try:
        server = ViewServer(port, site)
    except OSError as error:
        advice = "choose another --port, or 0 for any free one"
        raise UserError(f"cannot serve here: {error.strerror}", f"--port {port}", advice) from error
    with server:
        print(f"{server.address}  (Ctrl-C ends it)", flush=True)
        server.serve_forever()
