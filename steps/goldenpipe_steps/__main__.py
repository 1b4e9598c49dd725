"""`goldenpipe-step NAME`: runs the step program of that name, found in `goldenpipe_steps/programs/`."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from goldenpipe_steps.kit.report import Report
    from goldenpipe_steps.kit.step import Step

PROGRAMS = Path(__file__).parent / "programs"
USAGE_ERROR = 2


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code: 0 done, 10 temporary, 20 permanent, anything else a bug."""
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] in ("-h", "--help"):
        print(_help())
        return 0
    if len(words) != 1 or words[0] not in names():
        print(_help(), file=sys.stderr)
        if words:
            print(f"\nThere is no step program {' '.join(words)!r}.", file=sys.stderr)
        return USAGE_ERROR
    from goldenpipe_steps.kit.runner import run_step

    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # always a real text file here
    return run_step(words[0], lambda step: _program(words[0], step), os.environ, sys.stdout)


def names() -> list[str]:
    """The programs, those that only one kind of guest has among them."""
    return sorted({path.stem for path in PROGRAMS.rglob("[!_]*.py")})


async def _program(name: str, step: Step) -> Report:
    """The program of that name for the kind of guest that this build has."""
    known = [folder for folder in ("", "windows.") if (PROGRAMS / f"{folder.replace('.', '/')}{name}.py").is_file()]
    wanted = "windows." if step.input.os_type == "windows" else ""
    folder = wanted if wanted in known else known[0]
    module = importlib.import_module(f"goldenpipe_steps.programs.{folder}{name}")
    return cast("Report", await module.run(step))


def _help() -> str:
    """Read the summaries without importing the programs: help needs none of their libraries."""
    lines = ["usage: goldenpipe-step NAME", "", "Runs one step of a build inside its container. Steps:", ""]
    for name in names():
        path = next(path for path in (PROGRAMS / f"{name}.py", PROGRAMS / "windows" / f"{name}.py") if path.is_file())
        summary = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        lines.append(f"  {path.stem:<18} {summary}")
    lines += ["", "Environment: GOLDENPIPE_INPUT, GOLDENPIPE_SSH, GOLDENPIPE_TERMINATION_LOG, GOLDENPIPE_NAMESPACE."]
    lines += ["Exit codes: 0 done, 10 temporary, 20 permanent, anything else a bug in the step."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
