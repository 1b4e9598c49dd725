"""`vms`: the virtual machines that builds work on."""

from __future__ import annotations

import click

from goldenpipe.cli.app import Options, client_command, output_option
from goldenpipe.cli.output import age, print_json, print_table


@click.command()
@output_option
@client_command
def vms(options: Options, output: str) -> None:
    """List the build VMs."""
    found = options.client().vms()
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
        click.echo("No VMs.", err=True)
