"""`vms`: the virtual machines that builds work on."""

from __future__ import annotations

import click

from goldenpipe.cli.app import Options, client_command, output_option
from goldenpipe.cli.output import age, print_json, print_table


@click.command()
@click.option("-l", "--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only with this label; repeatable.")
@click.option("--status", help="Only with this status: pending, running, stopped, failed or deleting.")
@output_option
@client_command
def vms(options: Options, labels: tuple[str, ...], status: str | None, output: str) -> None:
    """List the build VMs."""
    filters = [("label", label) for label in labels] + ([("status", status)] if status else [])
    found = options.client().vms(filters)
    if output == "json":
        print_json(found)
    elif found:
        rows = [
            (
                vm["name"],
                vm.get("image_name") or "",
                vm["status"],
                vm.get("ip") or "",
                str(vm.get("cpu") or ""),
                vm.get("memory") or "",
                age(vm.get("created_at")),
            )
            for vm in found
        ]
        print_table(("NAME", "IMAGE", "STATUS", "IP", "CPU", "MEMORY", "AGE"), rows)
    else:
        click.echo("No VMs." if not filters else "No VMs like that.", err=True)
