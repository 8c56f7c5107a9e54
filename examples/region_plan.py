"""The plan that `examples.plan_regions` writes and `examples.regional_prompts` draws: a JSON file."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from comat_core.support.errors import UserError, first_problem


class Region(BaseModel):
    """A column of the image."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: str = Field(min_length=1)
    share: float = Field(default=1.0, gt=0)
    """Of the width, in relation to the other regions' shares."""


class RegionPlan(BaseModel):
    """What the whole image shows, and its columns from left to right."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(min_length=1)
    regions: tuple[Region, ...] = Field(min_length=1)

    def write(self, path: Path) -> None:
        """Write the plan for people to read and change."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_plan(path: Path) -> RegionPlan:
    """Read a plan from a file.

    Raises:
        UserError: there is none, or it is no plan.
    """
    try:
        return RegionPlan.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError("the plan cannot be read", str(path), "write one with examples.plan_regions") from error
    except ValidationError as error:
        problem = f"this is no plan: {first_problem(error, 'the whole')}"
        raise UserError(problem, str(path), "correct it, or plan again") from error
