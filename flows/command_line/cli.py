"""The command line: `comat COMMAND`.

A user's mistake ends it with one line on standard error and exit code 2; an exception that nobody expected with one
line too, which names the file with its trace, and exit code 1.
"""

import argparse
import os
import re
import select
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import data
from comat_core.support.errors import UserError
from data.miniature_world.seeds import SEEDS
from flows.command_line import (
    ablate_command,
    doctor_command,
    export_command,
    images_command,
    layers_command,
    miniature_command,
    models_command,
    preset_commands,
    run_command,
    sample_command,
    store_commands,
    study_command,
    timeline_command,
    view_command,
)
from flows.command_line.entry import EXIT_OF_FAILURE, EXIT_OF_INTERRUPT
from flows.failures import failure_line, is_debugging, show_trace, thread_failures_told
from stages.doctor.examination import SECONDS
from stages.evaluate.declared.registry import splits
from stages.plan.splits import TEST
from stages.store.store import default_store
from stages.tuned.export import EXPORTS

EXIT_OF_MISTAKE = 2
EXIT_OF_CLOSED_PIPE = 141


class OneLineParser(argparse.ArgumentParser):
    """Reports mistakes like every other part of the project: in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message, "command line", f"see `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    try:
        with thread_failures_told():
            options = make_parser().parse_args(arguments)
            code = options.command(options)
            sys.stdout.flush()  # what the disk or the reader refuses is told here, not when the interpreter ends
            return code
    except UserError as error:
        if is_debugging():
            show_trace(error)
        print(f"comat: {error}", file=sys.stderr)
        return EXIT_OF_MISTAKE
    except KeyboardInterrupt:
        print("comat: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return EXIT_OF_INTERRUPT
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_has_left():
            return EXIT_OF_CLOSED_PIPE
        _drop_lost_output()
        print(f"comat: {failure_line(error)}", file=sys.stderr)
        return EXIT_OF_FAILURE


def _reader_has_left() -> bool:
    """Whether nobody reads standard output any more, as after `comat show PRESET | head -1`."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        _drop_lost_output()
        return True
    return False


def _drop_lost_output() -> None:
    """Forget what standard output does not take: the interpreter would fail over it once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = OneLineParser(
        prog="comat", allow_abbrev=False, description="Fine-tune text-to-image models to follow their prompts."
    )
    parsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_runs(parsers)
    _add_looks_at_store(parsers)
    _add_uses_of_the_model(parsers)
    _add_study(parsers)
    _add_models(parsers)
    return parser


def _add_runs(parsers: Any) -> None:
    run = _add(parsers, "run", run_command.run, "run a preset's stages, or some of them")
    _add_preset(run)
    run.add_argument("--only", action="append", default=[], metavar="STAGE", help="run this stage and what it lacks")
    run.add_argument(
        "--refresh", action="append", default=[], metavar="STAGE", help="recompute this stage and what depends on it"
    )
    run.add_argument("--json", action="store_true", help="print one JSON object last: stage -> key, path, ...")

    ablate = _add(parsers, "ablate", ablate_command.ablate, "train a preset in the ways that the paper compares")
    _add_preset(ablate)
    ablate.add_argument("--table", action="append", default=[], metavar="TABLE", help="fidelity, parts or captioner")
    ablate.add_argument("--row", action="append", default=[], metavar="NAME", help="train this row of the tables")
    ablate.add_argument("--seeds", type=_positive, default=3, metavar="N", help="trainings of each row (default: 3)")
    ablate.add_argument("--output", metavar="FOLDER", help="of the tables (default: PRESET-ablation)")
    ablate.add_argument("--json", action="store_true", help="print one JSON object last: every number")


def _add_looks_at_store(parsers: Any) -> None:
    _add_preset(_add(parsers, "status", store_commands.status, "show what the store holds of each stage"))
    _add(parsers, "presets", preset_commands.presets, "list the shipped presets")
    show = _add(parsers, "show", preset_commands.show, "print a preset with all its settings")
    _add_preset(show, with_store=False)

    _add_store(_add(parsers, "verify", store_commands.verify, "compare every file in the store with its checksum"))
    collect = _add(parsers, "gc", store_commands.gc, "list artifacts that no kept run refers to")
    _add_store(collect)
    collect.add_argument(
        "--keep", type=_positive, default=3, metavar="N", help="runs of each preset to keep (default: 3)"
    )
    collect.add_argument("--delete", action="store_true", help="remove them, rather than list them")

    timeline = _add(parsers, "timeline", timeline_command.timeline, "draw the scores of a preset's trainings")
    _add_preset(timeline)
    timeline.add_argument("--output", metavar="FILE", help="HTML file (default: PRESET-timeline.html)")


def _add_uses_of_the_model(parsers: Any) -> None:
    sample = _add(parsers, "sample", sample_command.sample, "draw images with a preset's trained model")
    _add_preset(sample)
    sample.add_argument(
        "--prompt", action="append", required=True, metavar="TEXT", help="what to draw; again for another row"
    )
    sample.add_argument("--compare", action="store_true", help="draw the base model's image on the left")
    sample.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    sample.add_argument("--output", metavar="FILE", help="PNG file (default: PRESET-SEED.png)")

    images = _add(
        parsers, "images", images_command.images, "write a preset's images as files in T2I-CompBench's layout"
    )
    _add_preset(images)
    images.add_argument("--output", required=True, metavar="FOLDER", help="a new folder")
    images.add_argument("--split", default=TEST, choices=splits(), help="whose prompts' images (default: test)")
    images.add_argument(
        "--model", default="tuned", metavar="NAME", help="base, tuned or another of the preset (default: tuned)"
    )
    images.add_argument(
        "--skill", action="append", default=[], metavar="SKILL", help="write prompts of this skill only"
    )
    images.add_argument(
        "--manifest", action="store_true", help="number the files, and list their prompts in a manifest.csv"
    )

    view = _add(parsers, "view", view_command.view, "compare base and tuned model on any prompt, in the browser")
    _add_preset(view)
    view.add_argument("--port", type=_port, default=7860, metavar="N", help="on 127.0.0.1 (default: 7860; 0: any)")

    export = _add(parsers, "export", export_command.export, "write a preset's trained model for other tools")
    _add_preset(export)
    export.add_argument("--format", choices=sorted(EXPORTS), required=True, help="a LoRA, or the merged pipeline")
    export.add_argument("--output", metavar="FOLDER", help="a new folder (default: PRESET-FORMAT)")
    export.add_argument(
        "--precision", choices=["fp32", "bf16", "fp16"], default="fp32", help="of merged weights (default: fp32)"
    )
    export.add_argument(
        "--push", type=_repository, metavar="ORG/NAME", help="upload the folder to this repository of the hub"
    )
    export.add_argument("--private", action="store_true", help="make that repository, if it is new, a private one")


def _add_study(parsers: Any) -> None:
    study = parsers.add_parser("study", help="let people choose between images of base and tuned", allow_abbrev=False)
    steps = study.add_subparsers(title="steps", required=True, metavar="STEP")

    build = _add(steps, "build", study_command.build, "write a folder with pairs of a preset's images")
    _add_preset(build)
    build.add_argument("--out", dest="output", required=True, metavar="FOLDER", help="a new folder")
    build.add_argument(
        "--split", choices=splits(), help="whose prompts (default: dsg where the preset draws it, else test)"
    )
    build.add_argument("--prompts", type=_positive, default=100, metavar="N", help="drawn (default: 100)")
    build.add_argument("--seed", type=int, metavar="N", help="of the draw and the sides (default: the preset's)")

    serve = _add(steps, "serve", study_command.serve, "serve a study's page, one link per rater")
    serve.add_argument("folder", metavar="FOLDER", help="that `comat study build` has written")
    serve.add_argument("--raters", type=_positive, default=5, metavar="N", help="links to have (default: 5)")
    serve.add_argument("--port", type=_port, default=7870, metavar="N", help="(default: 7870; 0: any)")
    serve.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on (default: 127.0.0.1)")
    serve.add_argument("--address", metavar="URL", help="that the links begin with, where raters reach it by another")

    results = _add(steps, "results", study_command.results, "tell how often each model was preferred")
    results.add_argument("folder", metavar="FOLDER", help="that `comat study build` has written")
    results.add_argument("--output", metavar="FILE", help="HTML page with the chart (default: FOLDER/results.html)")
    results.add_argument("--json", action="store_true", help="print one JSON object instead of lines")


def _add_models(parsers: Any) -> None:
    models = _add(parsers, "models", models_command.models, "list the models that a preset needs, or fetch them")
    _add_preset(models, with_store=False)
    models.add_argument("--download", action="store_true", help="fetch what the caches lack, then list")
    models.add_argument("--ablation", action="store_true", help="list what `comat ablate` needs as well")

    doctor = _add(parsers, "doctor", doctor_command.doctor, "tell whether a preset can run here, and what it will take")
    _add_preset(doctor)
    doctor.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    doctor.add_argument(
        "--seconds", type=_positive, default=int(SECONDS), metavar="N", help="to wait for answers (default: 8)"
    )

    layers = _add(
        parsers, "layers", layers_command.layers, "measure which attention layers of the base model find objects"
    )
    _add_preset(layers)
    layers.add_argument("--prompts", type=_positive, default=64, metavar="N", help="to draw (default: 64)")
    layers.add_argument("--split", choices=splits(), help="whose prompts (default: the preset's attention.split)")
    layers.add_argument("--json", action="store_true", help="print one JSON object instead of a table")

    miniature = _add(
        parsers, "miniature", miniature_command.miniature, "train the miniature world's models from nothing"
    )
    miniature.add_argument("models", nargs="*", metavar="MODEL", help=f"any of {', '.join(SEEDS)} (default: all)")
    miniature.add_argument(
        "--state", metavar="FOLDER", help="keep the trainings' state here, for the same command to go on from"
    )
    target = Path(data.__file__).parent / "miniature"
    miniature.add_argument(
        "--target", default=str(target), metavar="FOLDER", help="of the models (default: the package's)"
    )


def _add(
    parsers: Any, name: str, command: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    parser = parsers.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", allow_abbrev=False
    )
    parser.set_defaults(command=command)
    return parser


def _add_preset(parser: argparse.ArgumentParser, with_store: bool = True) -> None:
    parser.add_argument("preset", metavar="PRESET", help="a shipped preset's name, or a .yaml file")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="override a preset's setting"
    )
    if with_store:
        _add_store(parser)


def _add_store(parser: argparse.ArgumentParser) -> None:
    default = default_store()
    parser.add_argument(
        "--store", default=default, metavar="URL", help=f"folder or fsspec URL of the store (default: {default})"
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**16:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to 65535")
    return int(text)


def _repository(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        raise argparse.ArgumentTypeError(f"{text} is no repository: write ORG/NAME")
    return text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
