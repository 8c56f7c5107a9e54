"""`comat audit`: anybody's model measured as base and tuned are, by a run of the flow that trains nothing."""

import argparse
import json
from pathlib import Path
from typing import Any, get_args

from comat_core.files.whole_files import write_whole
from comat_core.settings import Precision
from comat_core.support.errors import UserError
from flows.command_line.arguments import OneLineParser, add_command, add_store, positive
from flows.messages import show_messages
from flows.prefect_start.quiet import quiet_prefect
from flows.server import prefect_api
from stages.images import ImagesConfig
from stages.plan.pipeline import Plan, make_plan
from stages.plan.presets import Preset, as_yaml, load_preset
from stages.report import PAGE
from stages.store.artifacts import Artifact
from stages.store.file_names import fitting_name
from stages.store.local_disk import OUTPUT_ADVICE, check_folder, disk_errors_told
from stages.store.store import Store
from stages.studies.audit.checking import REPORT, Answer, check_manifest
from stages.studies.audit.composition import Request, compose_audit
from stages.studies.audit.estimate import DrawnImages, as_seconds, drawn_images, estimate, measured_seconds
from stages.studies.audit.manifest import make_manifest, read_manifest
from stages.studies.audit.subjects import read_subjects

EXIT_OF_DIFFERENCES = 2
SETTINGS = "audit.yaml"
MANIFEST = "manifest.json"


def add_to(parsers: Any) -> None:
    command = add_command(
        parsers, "audit", audit, "measure anybody's model, LoRA or folder of images, without training"
    )
    command.add_argument(
        "model", nargs="?", metavar="MODEL", help="a diffusers pipeline (folder or hub id), a LoRA, a folder of images"
    )
    command.add_argument("--base", metavar="MODEL", help="the pipeline that a LoRA is for, with which it is compared")
    command.add_argument("--against", metavar="MODEL", help="what else to compare with, of the same three kinds")
    _add_measurement(command)
    command.add_argument("--output", metavar="FOLDER", help="of report and manifest (default: audit-MODEL)")
    command.add_argument("--dry-run", action="store_true", help="tell what it takes, in seconds too, and stop")
    command.add_argument("--check", metavar="MANIFEST", help="compare an audit's manifest with what is here")
    add_store(command)


def _add_measurement(command: OneLineParser | argparse.ArgumentParser) -> None:
    command.add_argument(
        "--benchmarks", nargs="+", default=[], metavar="NAME", help="(default: all that the preset has and that apply)"
    )
    command.add_argument(
        "--preset", default="sd15", help="whose prompts, benchmarks and measuring models are taken (default: sd15)"
    )
    command.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="override a preset's setting"
    )
    command.add_argument(
        "--mode", choices=("both", "official", "corrected"), default="both", help="of protocols that have two"
    )
    command.add_argument("--prompts", type=positive, metavar="N", help="at most so many of each set (default: all)")
    command.add_argument("--steps", type=positive, metavar="N", help="(default: the pipeline's own)")
    command.add_argument("--guidance", type=float, metavar="X", help="(default: the pipeline's own)")
    command.add_argument(
        "--precision", choices=get_args(Precision), help="of the pipelines' weights (default: the preset's)"
    )


def audit(options: argparse.Namespace) -> int:
    """Tell what the audit takes, carry it out, and print the manifest's path and the report's."""
    if options.check is not None:
        return check(options)
    if options.model is None:
        raise UserError("nothing to audit is named", "MODEL", "name a pipeline, a LoRA or a folder of images")
    request = _request(options)
    preset = compose_audit(load_preset(options.preset, options.settings), request)
    plan, store = make_plan(preset.sections), Store(options.store)
    plan.wanted([])
    folder = Path(options.output or fitting_name(f"audit-{request.model.name}".replace("/", "-"), ""))
    check_folder("audit", folder, OUTPUT_ADVICE)
    names, drawn = {role: one.name for role, one in request.by_role.items()}, drawn_images(preset)
    print("\n".join(estimate(preset, drawn, names, store)), flush=True)
    if options.dry_run:
        print("\n".join(_measured(drawn, names)))
        return 0
    artifacts = _carry_out(preset, folder, options.store)
    _write(folder, preset, plan, artifacts, names, drawn)
    print("\n".join(str(folder / file) for file in (MANIFEST, REPORT)))
    return 0


def check(options: argparse.Namespace) -> int:
    """Print one line per claim of a manifest; exit code 2 if one does not hold."""
    if options.model is not None:
        raise UserError("a check names no model", "MODEL", "say where models lie with --set, as docs/audit.md tells")
    path = Path(options.check)
    found = check_manifest(read_manifest(path), path.parent, Store(options.store), options.settings)
    print("\n".join(map(str, found)))
    differing = sum(one.answer is Answer.OTHER for one in found)
    print(f"{differing} of {len(found)} claims differ" if differing else "nothing differs")
    return EXIT_OF_DIFFERENCES if differing else 0


def _request(options: argparse.Namespace) -> Request:
    images = load_preset(options.preset, options.settings).sections.get("images")
    precision = images.precision if isinstance(images, ImagesConfig) else "fp32"
    drawing = {
        "precision": options.precision or precision,
        "num_inference_steps": options.steps,
        "guidance_scale": options.guidance,
    }
    model, against = read_subjects(options.model, options.against, options.base, drawing)
    return Request(model, against, tuple(options.benchmarks), options.mode, options.prompts)


def _measured(drawn: dict[str, DrawnImages], names: dict[str, str]) -> list[str]:
    measured = {role: measured_seconds(one) for role, one in drawn.items()}
    return [as_seconds(names[role], seconds) for role, seconds in measured.items() if seconds is not None]


def _carry_out(preset: Preset, folder: Path, store: str) -> dict[str, Artifact]:
    """Run the flow on the audit's preset, which then lies in the folder for `comat status` and other commands."""
    settings = folder / SETTINGS
    with disk_errors_told("audit", folder, OUTPUT_ADVICE):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(settings, as_yaml(preset).encode())
    Store(store).mark()
    show_messages()
    quiet_prefect()
    with prefect_api():
        from flows.comat import comat

        named: Any = comat.with_options(flow_run_name=preset.name)
        state = named(preset=str(settings), store=store, recorded_as=preset.name, return_state=True)
        return {name: outcome.artifact for name, outcome in state.result().items()}


def _write(
    folder: Path,
    preset: Preset,
    plan: Plan,
    artifacts: dict[str, Artifact],
    names: dict[str, str],
    drawn: dict[str, DrawnImages],
) -> None:
    """Write the report and the manifest."""
    page = artifacts["report"].read_bytes(PAGE)
    samplers = {role: one.sampler for role, one in drawn.items()}
    manifest = make_manifest(preset, plan, artifacts, names, samplers, page)
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    with disk_errors_told("audit", folder, OUTPUT_ADVICE):
        write_whole(folder / REPORT, page)
        write_whole(folder / MANIFEST, text.encode())
