"""The program `goldenpipe`: its commands, loaded only when they are called, and what they share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from goldenpipe.cli.errors import CliError

if TYPE_CHECKING:
    from goldenpipe.cli.client import Client

F = TypeVar("F", bound=Callable[..., Any])

COMMANDS = {
    "serve": ("goldenpipe.cli.serve", "serve", "Start the service, on this machine or for a cluster."),
    "base-image": ("goldenpipe.cli.base_image", "base_image", "Make a bootable Debian cloud disk to build upon."),
    "create": ("goldenpipe.cli.images", "create", "Ask for a golden image."),
    "list": ("goldenpipe.cli.images", "list_images", "List the images."),
    "status": ("goldenpipe.cli.images", "status", "Show how far an image is, and its steps."),
    "logs": ("goldenpipe.cli.logs", "logs", "Print what the steps of an image printed."),
    "vms": ("goldenpipe.cli.vms", "vms", "List the build VMs."),
    "delete": ("goldenpipe.cli.images", "delete", "Delete an image, or cancel its build."),
    "screenshot": ("goldenpipe.cli.screenshot", "screenshot", "Save what an image's VM shows, as a PNG."),
    "export": ("goldenpipe.cli.export", "export", "Download an image's disk as qcow2."),
    "lint": ("goldenpipe.cli.lint", "lint", "Check templates before they are used."),
    "doctor": ("goldenpipe.cli.doctor", "doctor", "Tell what this machine or cluster can and cannot do."),
}
"""Name -> module, attribute, one line of help: kept here so that help imports no command."""


@dataclass
class Options:
    """What may be given before or after the command's name."""

    server: str = "http://127.0.0.1:8080"
    debug: bool = False

    def client(self) -> Client:
        from goldenpipe.cli.client import Client

        return Client(self.server)


class LazyGroup(click.Group):
    """Knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


def _set(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value is not None and param.name:
        setattr(ctx.ensure_object(Options), param.name, value)


def debug_option(function: F) -> F:
    return click.option(
        "--debug", is_flag=True, default=None, expose_value=False, callback=_set, help="Show tracebacks of bugs."
    )(function)


def server_option(*, envvar: str | None = None) -> Callable[[F], F]:
    return click.option(
        "--server",
        metavar="URL",
        envvar=envvar,
        default=None,
        expose_value=False,
        callback=_set,
        help="The service to talk to (GOLDENPIPE_SERVER); default http://127.0.0.1:8080.",
    )


def client_command(function: F) -> F:
    """For commands that talk to the service: `--server`, `--debug`, and the options as first argument."""
    return cast("F", server_option()(debug_option(click.pass_obj(function))))


output_option = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to print."
)


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001
    if value and not ctx.resilient_parsing:
        from goldenpipe import __version__

        click.echo(f"goldenpipe {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
@server_option(envvar="GOLDENPIPE_SERVER")
@debug_option
@click.pass_context
def goldenpipe(ctx: click.Context) -> None:
    """One request becomes a sealed, tested VM golden image.

    Start with `goldenpipe doctor` and `goldenpipe serve`. Tab completion for bash:
    eval "$(_GOLDENPIPE_COMPLETE=bash_source goldenpipe)" (or zsh_source, fish_source).
    """
    ctx.ensure_object(Options)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; whatever goes wrong ends as one sentence on stderr and an exit code."""
    options = Options()
    try:
        code = goldenpipe.main(arguments, prog_name="goldenpipe", standalone_mode=False, obj=options)
    except click.Abort:
        click.echo("goldenpipe: interrupted.", err=True)
        sys.exit(130)
    except CliError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if options.debug:
            raise
        CliError(
            f"this is a bug in GoldenPipe: {type(error).__name__}: {error}",
            hint="Run it again with --debug and report what it prints.",
        ).show()
        sys.exit(70)
    sys.exit(code if isinstance(code, int) else 0)
