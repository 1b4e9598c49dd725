"""`--listen HOST:PORT`, as `serve` and `doctor` take it, and what else is an address."""

from __future__ import annotations

from typing import Any

import click


class Address(click.ParamType[tuple[str, int]]):
    """HOST:PORT, with an IPv6 host in brackets."""

    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        if not (colon and host and port.isdecimal() and int(port) <= 65535):
            self.fail(f"{value!r} is no address: write it as 127.0.0.1:8080.", param, ctx)
        return host.strip("[]"), int(port)


listen_option = click.option(
    "--listen",
    type=Address(),
    default="127.0.0.1:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Where the REST API listens; port 0 takes a free one.",
)
