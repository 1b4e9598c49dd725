"""Kubernetes quantities ("4Gi", "1.5G", "512M") as whole numbers."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

_SUFFIXES = {"": Decimal(1), "m": Decimal("0.001")}
_SUFFIXES |= {letter: Decimal(1000) ** power for power, letter in enumerate(["k", "M", "G", "T", "P", "E"], 1)}
_SUFFIXES |= {letter: Decimal(1024) ** power for power, letter in enumerate(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], 1)}
_QUANTITY = re.compile(r"([+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]{0,2})")


def parse_quantity(text: str | int) -> int:
    """The number, rounded up."""
    match = _QUANTITY.fullmatch(str(text).strip())
    if not match or match[2] not in _SUFFIXES:
        message = f"{text!r} is not a Kubernetes quantity such as 4Gi or 500M"
        raise ValueError(message)
    return int((Decimal(match[1]) * _SUFFIXES[match[2]]).to_integral_value(ROUND_CEILING))
