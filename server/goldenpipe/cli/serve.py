"""`serve`: the service, on the local cluster unless it is told of another one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from goldenpipe.cli.app import Options, debug_option
from goldenpipe.cli.listen import Address, listen_option
from goldenpipe.cli.paths import data_dir as default_data_dir


@click.command()
@listen_option
@click.option(
    "--advertise",
    type=Address(),
    metavar="HOST:PORT",
    help="Where other replicas reach this one.  [default: where it listens]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_data_dir,
    metavar="DIR",
    help="Where images, logs and the local cluster are kept.  [default: $XDG_DATA_HOME/goldenpipe]",
)
@click.option(
    "--templates",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Laid over the built-in templates; repeatable, the last one on top.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Use this Kubernetes cluster.",
)
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="YAML with settings of the cluster: storage class, preference, step image, time limits …",
)
@click.option("--local", is_flag=True, help="Use the local cluster, even inside Kubernetes.")
@click.option("--max-builds", type=click.IntRange(min=1), default=2, show_default=True, help="Builds at the same time.")
@debug_option
@click.pass_obj
def serve(
    options: Options,
    *,
    listen: tuple[str, int],
    advertise: tuple[str, int] | None,
    data_dir: Path,
    templates: tuple[Path, ...],
    kubeconfig: Path | None,
    settings_file: Path | None,
    local: bool,
    max_builds: int,
) -> None:
    """Start the service, on this machine or for a cluster.

    Without --kubeconfig and outside of Kubernetes it brings its own local cluster: QEMU is all it needs.
    """
    if local and kubeconfig:
        message = "--local and --kubeconfig exclude each other."
        raise click.UsageError(message)
    from goldenpipe.cli.running import serve as run
    from goldenpipe.cli.running import set_up_logging
    from goldenpipe.cli.settings_file import read_settings
    from goldenpipe.settings import ClusterSettings, Settings
    from goldenpipe_kube.client import in_cluster

    own_cluster = local or not (kubeconfig or in_cluster())
    if own_cluster and not local:
        click.echo("No --kubeconfig, and not inside Kubernetes: using the local cluster on this machine.", err=True)
    set_up_logging(debug=options.debug)
    settings = Settings(
        host=listen[0],
        port=listen[1],
        advertise=advertise,
        data_dir=data_dir.absolute(),
        templates=tuple(folder.absolute() for folder in templates),
        kubeconfig=kubeconfig.absolute() if kubeconfig else None,
        local=own_cluster,
        max_builds=max_builds,
        cluster=read_settings(settings_file) if settings_file else ClusterSettings(),
    )
    asyncio.run(run(settings))
