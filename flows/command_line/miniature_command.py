"""`comat miniature`: the miniature world's models, rebuilt."""

import argparse
from pathlib import Path

from stages.store.local_disk import check_folder


def miniature(options: argparse.Namespace) -> int:
    from data.miniature_world.build import build

    target = Path(options.target)
    check_folder("models", target, "choose another --target")
    build(target, options.models, Path(options.state) if options.state else None)
    return 0
