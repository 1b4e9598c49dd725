"""Lists and watches as tables: what `kubectl get` asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from goldenpipe_kube import Object
from goldenpipe_local.api.columns import COLUMNS, GENERAL_COLUMNS, Column
from goldenpipe_local.api.requests import Request
from goldenpipe_local.api.resources import Resource
from goldenpipe_local.api.store import Stored, encode

_META = "meta.k8s.io/v1"


@dataclass(frozen=True, kw_only=True)
class Table:
    """How the rows of one resource are put; `include` is None, Metadata or Object."""

    columns: tuple[Column, ...]
    include: str

    def encode(self, items: Iterable[Stored], metadata: Object) -> bytes:
        table = {
            "kind": "Table",
            "apiVersion": _META,
            "metadata": metadata,
            "columnDefinitions": [column.definition() for column in self.columns],
            "rows": [self._row(item.object) for item in items],
        }
        return encode(table)

    def _row(self, obj: Object) -> Object:
        row: Object = {"cells": [column.cell(obj) for column in self.columns]}
        if self.include == "Object":
            row["object"] = obj
        elif self.include == "Metadata":
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": _META,
                "metadata": obj["metadata"],
            }
        return row


def table_wanted(request: Request, resource: Resource) -> Table | None:
    """The table that the Accept header asks for first, if it asks for one."""
    first = request.http.headers.get("Accept", "").partition(",")[0].replace(" ", "")
    if "as=Table" not in first.split(";"):
        return None
    include = request.query("includeObject") or "Metadata"
    return Table(columns=COLUMNS.get(resource.key, GENERAL_COLUMNS), include=include)
