"""`create`, `list`, `status` and `delete`: what one does with images."""

from __future__ import annotations

import sys

import click

from goldenpipe.cli.app import Options, client_command, output_option
from goldenpipe.cli.client import ApiError, Client, Document
from goldenpipe.cli.documents import read_request
from goldenpipe.cli.errors import CliError
from goldenpipe.cli.output import age, coloured, duration, print_json, print_table, seconds_between


@click.command()
@click.option("-f", "--file", "source", required=True, metavar="FILE", help="The request, JSON or YAML; - for stdin.")
@click.option("--wait", is_flag=True, help="Show the build until it has ended; exit 1 if it fails.")
@output_option
@client_command
def create(options: Options, source: str, wait: bool, output: str) -> None:
    """Ask for a golden image.

    The request is described in the API reference; examples/ has some to start from.
    """
    client = options.client()
    image = client.create_image(read_request(source))["image"]
    name = image["name"]
    if wait:
        follow(client, name, to_stderr=output == "json")
        image = client.image(name)
    if output == "json":
        print_json(image)
    elif wait:
        click.echo(f"{name} is {coloured('ready')}. Get its disk: goldenpipe export {name} --out {name}.qcow2")
    else:
        click.echo(f"{name} is being made. Watch it: goldenpipe status {name} --watch")


@click.command("list")
@click.option("-l", "--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only with this label; repeatable.")
@click.option("--status", help="Only with this status: pending, creating, ready, failed or deleting.")
@click.option("--os-type", help="Only for this kind of guest: linux or windows.")
@output_option
@client_command
def list_images(
    options: Options, labels: tuple[str, ...], status: str | None, os_type: str | None, output: str
) -> None:
    """List the images."""
    filters = [("label", label) for label in labels]
    filters += [(key, value) for key, value in (("status", status), ("os_type", os_type)) if value]
    images = options.client().images(filters)
    if output == "json":
        print_json(images)
    elif images:
        print_table(("NAME", "OS", "STATUS", "SIZE", "AGE", "LABELS"), [_row(image) for image in images])
    else:
        click.echo("No images." if not filters else "No images like that.", err=True)


@click.command()
@click.argument("name")
@click.option("-w", "--watch", is_flag=True, help="Show the build until it has ended; exit 1 if it fails.")
@output_option
@client_command
def status(options: Options, name: str, watch: bool, output: str) -> None:
    """Show how far an image is, and its steps."""
    client = options.client()
    document = client.status(name)
    if watch:
        document = follow(client, name, to_stderr=output == "json")
    if output == "json":
        print_json(document)
    else:
        _print_status(document, (client.image(name).get("error")) if document["status"] == "failed" else None)


@click.command()
@click.argument("name")
@click.option("--wait", is_flag=True, help="Return when nothing of it is left.")
@output_option
@client_command
def delete(options: Options, name: str, wait: bool, output: str) -> None:
    """Delete an image, or cancel its build."""
    client = options.client()
    answer = client.delete_image(name)
    if wait:
        wait_until_gone(client, name)
        answer = {"message": "Image deleted"}
    if output == "json":
        print_json(answer)
    else:
        click.echo(f"{name} is deleted." if wait else f"{name} is being deleted.")


def follow(client: Client, name: str, *, to_stderr: bool) -> Document:
    from goldenpipe.cli.progress import follow_build

    return follow_build(client, name, sys.stderr if to_stderr else sys.stdout)


def wait_until_gone(client: Client, name: str) -> None:
    """Returns once the service says that the image does not exist any more."""
    try:
        for _ in client.watch_status(name):
            pass
    except ApiError as error:
        if error.status == 404:
            return
        raise
    raise CliError(
        f"image {name} is there again: someone asked for it while it was being deleted.",
        hint=f"Look at it: goldenpipe status {name}",
    )


def _row(image: Document) -> tuple[str, ...]:
    labels = ",".join(f"{key}={value}" for key, value in sorted((image.get("labels") or {}).items()))
    return (
        image["name"],
        image["os_type"],
        image["status"],
        image.get("size") or "",
        age(image.get("created_at")),
        labels,
    )


def _print_status(document: Document, error: Document | None) -> None:
    head = f"{click.style(document['name'], bold=True)}  {coloured(document['status'])}  {document['progress']}%"
    click.echo(f"{head}  {document.get('message') or ''}".rstrip())
    if error and error.get("hint"):
        click.echo(error["hint"])
    click.echo()
    rows = [
        (
            step["name"],
            step["status"],
            duration(seconds_between(step.get("started_at"), step.get("ended_at"))),
            step.get("message") or "",
        )
        for step in document["steps"]
    ]
    print_table(("STEP", "STATUS", "TIME", "MESSAGE"), rows)
