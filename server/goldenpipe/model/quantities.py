"""Quantities as Kubernetes writes them (`20Gi`, `1.5G`, `1e9`), in bytes."""

from __future__ import annotations

import re
from decimal import Decimal

_SUFFIXES = {
    "": Decimal(1),
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
}
_QUANTITY = re.compile(
    r"(?P<number>\d+(?:\.\d+)?|\.\d+)(?:[eE](?P<exponent>[+-]?\d{1,2})|(?P<suffix>[KMGTPE]i|[kMGTPE])?)",
    re.ASCII,
)


def parse_bytes(text: str) -> int:
    """Whole bytes, rounded up; ValueError with the words to show for anything that is no quantity of bytes."""
    match = _QUANTITY.fullmatch(text)
    if not match:
        message = f"{text!r} is not a quantity; write it as Kubernetes does, for example 20Gi or 512Mi"
        raise ValueError(message)
    factor = Decimal(10) ** int(match["exponent"]) if match["exponent"] else _SUFFIXES[match["suffix"] or ""]
    value = Decimal(match["number"]) * factor
    return int(value.to_integral_value(rounding="ROUND_CEILING"))


def format_bytes(count: int) -> str:
    """As the API shows sizes: one decimal and a binary suffix, for example `15.2Gi`."""
    value = float(count)
    for suffix in ("", "Ki", "Mi", "Gi", "Ti"):
        if value < 1024:
            return f"{value:.1f}{suffix}" if suffix else f"{count}"
        value /= 1024
    return f"{value:.1f}Pi"
