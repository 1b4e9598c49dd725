"""`make demo`: a base disk, a service, one request; then a copy of the image is booted and looked into."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guest import booted_copy, make_key
from request import CHECKS, IMAGE, USER, make_request
from serving import served
from story import Story

from goldenpipe.cli.base_image import made, teller
from goldenpipe.cli.client import ENDED, ApiError, Client
from goldenpipe.cli.errors import CliError
from goldenpipe.cli.images import wait_until_gone
from goldenpipe.cli.output import duration, size
from goldenpipe.cli.paths import cache_dir
from goldenpipe.cli.progress import View, build_failure
from goldenpipe_local.base_image import Distribution, cached

DISTRIBUTION: Distribution = "debian-12"
_LAST_LINES = 15


@dataclass(frozen=True, kw_only=True)
class Made:
    """The finished image."""

    disk: Path
    status: dict[str, Any]
    image: dict[str, Any]


def main() -> int:
    arguments = _arguments()
    story = Story(record=arguments.record is not None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        show(story, arguments.cache)
    except CliError as error:
        error.show()
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running.", file=sys.stderr)
        return 130
    if arguments.record:
        story.save(arguments.record)
    return 0


def show(story: Story, cache: Path) -> None:
    data_dir = cache / "demo"
    base_disk = get_base_disk(story, cache)
    with tempfile.TemporaryDirectory(prefix="goldenpipe-demo-") as folder:
        private_key, public_key = make_key(Path(folder))
        made_image = make_image(story, data_dir, base_disk, public_key)
        look_inside(story, made_image.disk, private_key, Path(folder))
    tell_the_end(story, data_dir, made_image)


def get_base_disk(story: Story, cache: Path) -> Path:
    story.chapter("A base disk: Debian 12, made of Debian's own packages (once; about a minute)")
    there = set(cache.glob("*.qcow2"))
    with story.progress() as bar:
        disk = made(cached(DISTRIBUTION, cache, say=teller(DISTRIBUTION, bar)))
    story.say(f"{'Already there' if disk in there else 'Made'}: {disk} ({size(_used(disk))})")
    return disk


def make_image(story: Story, data_dir: Path, base_disk: Path, public_key: str) -> Made:
    story.chapter("The service, with its own small cluster on this machine")
    story.command(f"goldenpipe serve --data-dir {data_dir}")
    with served(data_dir) as client:
        story.say(f"It answers at {client.server}")
        forget_last_run(client)
        story.chapter("One request: packages, a script, a file, a user with group and sudo, an SSH key")
        request = make_request(base_disk, public_key)
        file = data_dir / "request.json"
        file.write_text(json.dumps(request, indent=2))
        story.command(f"curl {client.server}/api/v1/images -H 'Content-Type: application/json' -d @{file}")
        with cancelled_unless_finished(client):
            client.create_image(request)
            status = watch(story, client)
            image = client.image(IMAGE)
    return Made(disk=_disk(data_dir, image), status=status, image=image)


def watch(story: Story, client: Client) -> dict[str, Any]:
    status: dict[str, Any] = {}
    with story.progress() as bar:
        for status in client.watch_status(IMAGE):
            bar.show(View.of(status))
    if status["status"] != "ready":
        _print_log(client, status)
        raise build_failure(status)
    return status


def look_inside(story: Story, disk: Path, private_key: Path, folder: Path) -> None:
    story.chapter("A throw-away copy of the image boots under QEMU, without the service")
    with booted_copy(disk, private_key, folder) as guest:
        story.command(f"ssh -i {private_key} -p {guest.port} {USER}@127.0.0.1")
        seconds = guest.wait_for_ssh()
        story.say(f"{USER} is let in with the requested key after {duration(seconds)}:")
        answers = guest.run([check.command for check in CHECKS])
    seen = [(check.asked_for, answer, check.holds(answer)) for check, answer in zip(CHECKS, answers, strict=False)]
    story.found(seen)
    if len(answers) != len(CHECKS) or not all(right for _, _, right in seen):
        raise CliError("the image is not what was asked for.", hint=f"Look into it: {disk}")


def tell_the_end(story: Story, data_dir: Path, made_image: Made) -> None:
    image = made_image.image
    story.chapter("The image")
    story.say(f"{made_image.disk} ({image['size']})")
    story.steps(made_image.status)
    story.chapter("Look further, with the service started again")
    story.command(f"{_program()} serve --data-dir {data_dir} &")
    story.say("")
    story.command(f"curl http://127.0.0.1:8080/api/v1/images/{IMAGE}/status")
    kubeconfig = data_dir / "cluster" / "kubeconfig"
    story.command(f"KUBECONFIG={kubeconfig} kubectl logs --tail=-1 -l goldenpipe.io/step=install_packages")
    story.command(f"{_program()} export {IMAGE} --out {IMAGE}.qcow2")


def forget_last_run(client: Client) -> None:
    try:
        client.delete_image(IMAGE)
    except ApiError as error:
        if error.status != 404:
            raise
    else:
        wait_until_gone(client, IMAGE)


@contextmanager
def cancelled_unless_finished(client: Client) -> Iterator[None]:
    """Leaves no build behind: one that has not ended when the block is left is deleted, and that is waited for."""
    try:
        yield
    except BaseException:
        with _undisturbed():
            cancel(client)
        raise


def cancel(client: Client) -> None:
    try:
        if client.status(IMAGE)["status"] in ENDED:
            return
        print("\nCancelling the build ...", file=sys.stderr)
        client.delete_image(IMAGE)
        wait_until_gone(client, IMAGE)
    except ApiError as error:
        if error.status != 404:
            raise


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Cleaning up takes a few seconds; another Ctrl-C must not leave a VM behind."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _print_log(client: Client, status: dict[str, Any]) -> None:
    step = (status.get("error") or {}).get("step")
    if not step:
        return
    log = b"".join(client.follow_log(IMAGE, step, follow=False)).decode(errors="replace")
    print("\n".join(f"   | {line}" for line in log.splitlines()[-_LAST_LINES:]), file=sys.stderr)


def _disk(data_dir: Path, image: dict[str, Any]) -> Path:
    return data_dir / "cluster" / "volumes" / str(image["pvc_name"]) / "disk.qcow2"


def _used(disk: Path) -> int:
    return disk.stat().st_blocks * 512


def _program() -> str:
    program = Path(sys.executable).with_name("goldenpipe")
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo DEMO=...", description=__doc__)
    parser.add_argument("--record", type=Path, metavar="FILE.svg", help="also draw what was printed into a picture")
    parser.add_argument("--cache", type=Path, default=cache_dir(), metavar="DIR", help="base disk and demo image")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
