"""`make bench`: the same image made by GoldenPipe, Packer and virt-customize in turn, and what that took."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from contestants import Contestant
from order import ContestantFailed, Order, check_image
from with_goldenpipe import GoldenPipe
from with_packer import Packer
from with_virt_customize import VirtCustomize

from goldenpipe.cli.checks.kvm import probe_kvm
from goldenpipe.cli.paths import cache_dir
from goldenpipe_local.base_image import cached


@dataclass(frozen=True, kw_only=True)
class Result:
    """One image made by one tool."""

    tool: str
    version: str
    round: int
    seconds: float
    size: int
    load: float
    """The machine's load average just before: a figure taken on a busy machine says little."""


def main() -> int:
    arguments = _arguments()
    known: list[Contestant] = [GoldenPipe(), Packer(), VirtCustomize()]
    contestants = [one for one in known if _takes_part(one, arguments.only)]
    accelerator = arguments.accelerator or ("kvm" if probe_kvm().usable else "tcg")
    print(f"{describe_machine()}, {accelerator}; {arguments.rounds} rounds")
    base_disk = asyncio.run(cached("debian-12", cache_dir(), say=print))
    with tempfile.TemporaryDirectory(prefix="goldenpipe-bench-", dir=arguments.folder) as folder:
        order = make_order(base_disk, accelerator, Path(folder))
        results = compete(contestants, order, arguments.rounds, Path(folder))
    print_table(results)
    if arguments.json:
        document = {
            "machine": describe_machine(),
            "accelerator": accelerator,
            "results": [asdict(one) for one in results],
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if {one.tool for one in results} == {one.name for one in contestants} else 1


def compete(contestants: Sequence[Contestant], order: Order, rounds: int, folder: Path) -> list[Result]:
    """Alternating, so that what slows the machine down for a while slows down all of them."""
    results = []
    for number in range(1, rounds + 1):
        for contestant in contestants:
            try:
                result = compete_once(contestant, order, number, folder)
            except ContestantFailed as failure:
                print(f"{contestant.name}, round {number}: FAILED: {failure}", flush=True)
                continue
            results.append(result)
            print(
                f"{result.tool}, round {number}: {result.seconds:.1f} s, {result.size / 2**20:.0f} MiB"
                f" (load before: {result.load:.1f})",
                flush=True,
            )
            if isinstance(contestant, GoldenPipe):
                print("   " + ", ".join(f"{step} {took:.1f}" for step, took in contestant.steps.items()), flush=True)
    return results


def compete_once(contestant: Contestant, order: Order, number: int, folder: Path) -> Result:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        out = Path(own) / "out.qcow2"
        load = os.getloadavg()[0]
        with contestant.ready(Path(own)):
            start = time.monotonic()
            contestant.make(order, Path(own), out)
            seconds = time.monotonic() - start
            if isinstance(contestant, GoldenPipe):
                contestant.after()
        check_image(out, order, Path(own))
        return Result(
            tool=contestant.name,
            version=contestant.version(),
            round=number,
            seconds=seconds,
            size=out.stat().st_size,
            load=load,
        )


def print_table(results: Sequence[Result]) -> None:
    tools = list(dict.fromkeys(result.tool for result in results))
    medians = {tool: statistics.median(one.seconds for one in results if one.tool == tool) for tool in tools}
    print(f"\n{'':24}{'median':>9}{'fastest':>9}{'slowest':>9}{'GoldenPipe':>12}{'size':>10}")
    for tool in tools:
        mine = [one for one in results if one.tool == tool]
        times = [one.seconds for one in mine]
        ratio = f"{medians['GoldenPipe'] / medians[tool]:.2f} of it" if "GoldenPipe" in medians else "-"
        size = f"{statistics.median(one.size for one in mine) / 2**20:.0f} MiB"
        name = f"{tool} {mine[0].version}"
        print(f"{name:24}{medians[tool]:7.1f} s{min(times):7.1f} s{max(times):7.1f} s{ratio:>12}{size:>10}")


def make_order(base_disk: Path, accelerator: str, folder: Path) -> Order:
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", key], check=True)
    public = key.with_name("key.pub").read_text().strip()
    return Order(base_disk=base_disk, public_key=public, private_key=key, accelerator=accelerator)


def describe_machine() -> str:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(": ")[2] if models else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(os.sched_getaffinity(0))} x {model}, {memory:.0f} GiB"


def _takes_part(contestant: Contestant, only: Sequence[str] | None) -> bool:
    if only and contestant.name.lower() not in [name.lower() for name in only]:
        return False
    if missing := contestant.missing():
        print(f"{contestant.name} does not take part: it is not installed (apt-get install {missing}).")
        return False
    return True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench BENCH=...", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="images per tool (3)")
    parser.add_argument(
        "--only", action="append", metavar="TOOL", help="goldenpipe, packer, virt-customize; repeatable"
    )
    parser.add_argument("--accelerator", choices=["kvm", "tcg"], help="default: kvm where a guest lives on it")
    parser.add_argument("--folder", type=Path, help="where to work: some 5 GiB (the folder for temporary files)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
