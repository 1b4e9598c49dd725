"""`goldenpipe-step NAME`: runs the step program of that name, found in `goldenpipe_steps/programs/`."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from pathlib import Path
from typing import cast

PROGRAMS = Path(__file__).parent / "programs"
USAGE_ERROR = 2


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code: 0 done, 10 temporary, 20 permanent, anything else a bug."""
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] in ("-h", "--help"):
        print(_help())
        return 0
    if len(words) != 1 or words[0].startswith("_") or not (PROGRAMS / f"{words[0]}.py").is_file():
        print(_help(), file=sys.stderr)
        if words:
            print(f"\nThere is no step program {' '.join(words)!r}.", file=sys.stderr)
        return USAGE_ERROR
    from goldenpipe_steps.kit.runner import Program, run_step

    module = importlib.import_module(f"goldenpipe_steps.programs.{words[0]}")
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # always a real text file here
    return run_step(words[0], cast("Program", module.run), os.environ, sys.stdout)


def _help() -> str:
    """Read the summaries without importing the programs: help needs none of their libraries."""
    lines = ["usage: goldenpipe-step NAME", "", "Runs one step of a build inside its container. Steps:", ""]
    for path in sorted(PROGRAMS.glob("[!_]*.py")):
        summary = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        lines.append(f"  {path.stem:<18} {summary}")
    lines += ["", "Environment: GOLDENPIPE_INPUT, GOLDENPIPE_SSH, GOLDENPIPE_TERMINATION_LOG, GOLDENPIPE_NAMESPACE."]
    lines += ["Exit codes: 0 done, 10 temporary, 20 permanent, anything else a bug in the step."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
