"""Quantities as Kubernetes writes them."""

from __future__ import annotations

import pytest

from goldenpipe.model.quantities import format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "count"),
    [("20Gi", 20 * 1024**3), ("1.5Gi", 3 * 512 * 1024**2), ("10G", 10**10), ("1e9", 10**9), ("512", 512), ("1k", 1000)],
)
def test_a_quantity_means_what_kubernetes_means(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "Gi", "20GB", "20 Gi", "0x10", "-5Gi", "1e", "１Gi", "20Gi\n"])
def test_what_kubernetes_would_refuse_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantity"):
        parse_bytes(text)


def test_sizes_are_shown_with_one_decimal_and_a_binary_suffix() -> None:
    assert format_bytes(int(15.2 * 1024**3)) == "15.2Gi"
    assert format_bytes(0) == "0"
