"""`logs`: what the steps of an image printed, of one step or of all in their order."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from goldenpipe.cli.app import Options, client_command
from goldenpipe.cli.client import ApiError, Client, Document
from goldenpipe.cli.errors import CliError

_SILENT = ("pending", "skipped")


@click.command()
@click.argument("name")
@click.argument("step", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the step, or without STEP the build, has ended.")
@client_command
def logs(options: Options, name: str, step: str | None, follow: bool) -> None:
    """Print what the steps of an image printed.

    Without STEP: of all steps in their order, each below its name.
    """
    client = options.client()
    document = client.status(name)
    if step is None:
        for number, each in enumerate(_steps_with_logs(client, document, follow=follow)):
            click.echo(f"{chr(10) if number else ''}==> {each} <==")
            print_log(client, name, each, follow=follow)
        return
    _check_step(document, step)
    if follow:
        _wait_for_start(client, document, step)
    print_log(client, name, step, follow=follow)


def print_log(client: Client, name: str, step: str, *, follow: bool) -> None:
    last = b"\n"
    for piece in client.follow_log(name, step, follow=follow):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        last = piece
    if not last.endswith(b"\n"):
        click.echo()


def _steps_with_logs(client: Client, document: Document, *, follow: bool) -> Iterator[str]:
    """The steps that have begun; with `follow` also those that will, each as it begins."""
    names = [step["name"] for step in document["steps"]]
    for name in names:
        if follow:
            document = _wait_for_start(client, document, name)
        if _status_of(document, name) not in _SILENT:
            yield name


def _wait_for_start(client: Client, document: Document, step: str) -> Document:
    """The status once the step has begun, was skipped, or never will because the build has ended."""
    if _status_of(document, step) != "pending":
        return document
    try:
        for newer in client.watch_status(document["name"]):
            document = newer
            if _status_of(newer, step) != "pending":
                break
    except ApiError as error:
        if error.status != 404:
            raise
        raise CliError(f"image {document['name']} was deleted while it was being built.") from error
    return document


def _status_of(document: Document, step: str) -> str:
    return next(str(each["status"]) for each in document["steps"] if each["name"] == step)


def _check_step(document: Document, step: str) -> None:
    names = [each["name"] for each in document["steps"]]
    if step not in names:
        raise CliError(f"image {document['name']} has no step {step}.", hint=f"Its steps: {', '.join(names)}.")
