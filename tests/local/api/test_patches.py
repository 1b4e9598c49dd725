"""Kubernetes' strategic merge patch, and what kubectl makes of times."""

from __future__ import annotations

from typing import Any

import pytest

from goldenpipe_local.api.columns import human_duration
from goldenpipe_local.api.patches import json_patch, merge_patch, strategic_merge_patch

A, B, C = {"name": "a", "v": 1}, {"name": "b", "v": 2}, {"name": "c", "v": 3}


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ({"env": [A, B]}, {"env": [{"name": "b", "v": 9}]}, {"env": [A, {"name": "b", "v": 9}]}),
        ({"env": [A]}, {"env": [B]}, {"env": [A, B]}),
        ({"env": [A, B]}, {"env": [{"name": "a", "$patch": "delete"}]}, {"env": [B]}),
        ({"env": [A, B]}, {"env": [{"$patch": "replace"}, C]}, {"env": [C]}),
        ({"env": [A, B]}, {"env": [C], "$setElementOrder/env": [C, B, A]}, {"env": [C, B, A]}),
        ({"args": ["x", "y"]}, {"args": ["z"]}, {"args": ["z"]}),
        ({"finalizers": ["x"]}, {"finalizers": ["y"]}, {"finalizers": ["x", "y"]}),
        ({"finalizers": ["x", "y"]}, {"$deleteFromPrimitiveList/finalizers": ["x"]}, {"finalizers": ["y"]}),
        (
            {"strategy": {"type": "a", "old": 1}},
            {"strategy": {"type": "b", "$retainKeys": ["type"]}},
            {"strategy": {"type": "b"}},
        ),
        ({"spec": {"x": 1, "y": 2}}, {"spec": {"x": None}}, {"spec": {"y": 2}}),
        ({"spec": {"x": 1}}, {"spec": {"$patch": "replace", "y": 2}}, {"spec": {"y": 2}}),
        (
            {},
            {"conditions": [{"type": "Ready", "status": "True"}]},
            {"conditions": [{"type": "Ready", "status": "True"}]},
        ),
    ],
)
def test_lists_are_merged_as_kubernetes_merges_them(before: Any, patch: Any, after: Any) -> None:
    assert strategic_merge_patch(before, patch) == after


def test_no_patch_changes_the_object_it_is_applied_to() -> None:
    before = {"spec": {"containers": [{"name": "a", "env": [A]}], "x": {"y": 1}}}
    untouched = {"spec": {"containers": [{"name": "a", "env": [A]}], "x": {"y": 1}}}
    patch = {"spec": {"containers": [{"name": "a", "env": [B]}], "x": {"y": None}}}
    strategic_merge_patch(before, patch)
    merge_patch(before, patch)
    json_patch(before, [{"op": "remove", "path": "/spec/x"}, {"op": "add", "path": "/spec/containers/-", "value": {}}])
    assert before == untouched


@pytest.mark.parametrize(
    ("operations", "after"),
    [
        ([{"op": "add", "path": "/list/-", "value": 3}], {"list": [1, 2, 3], "a/b": 1}),
        ([{"op": "add", "path": "/list/0", "value": 0}], {"list": [0, 1, 2], "a/b": 1}),
        ([{"op": "replace", "path": "/list/1", "value": 9}], {"list": [1, 9], "a/b": 1}),
        ([{"op": "remove", "path": "/a~1b"}], {"list": [1, 2]}),
        ([{"op": "move", "from": "/a~1b", "path": "/c"}], {"list": [1, 2], "c": 1}),
        ([{"op": "copy", "from": "/list/0", "path": "/c"}], {"list": [1, 2], "a/b": 1, "c": 1}),
    ],
)
def test_json_patches_do_what_the_standard_says(operations: Any, after: Any) -> None:
    assert json_patch({"list": [1, 2], "a/b": 1}, operations) == after


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0s"),
        (119, "119s"),
        (120, "2m"),
        (330, "5m30s"),
        (9000, "150m"),
        (11_520, "3h12m"),
        (28_800, "8h"),
        (172_800, "2d"),
        (187_200, "2d4h"),
        (1_728_000, "20d"),
        (94_694_400, "3y1d"),
        (315_360_000, "10y"),
    ],
)
def test_ages_are_shown_as_kubectl_shows_them(seconds: int, shown: str) -> None:
    assert human_duration(seconds) == shown
