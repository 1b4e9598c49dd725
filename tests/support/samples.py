"""Every object that the built-in templates make of the sample requests."""

from __future__ import annotations

from collections.abc import Iterator

from goldenpipe.lint import job_context, sample_requests
from goldenpipe.settings import ClusterSettings
from goldenpipe.templating.bundle import Bundle
from goldenpipe.templating.leaves import Renderer
from goldenpipe.templating.steps import read_step, render_job, render_manifests
from goldenpipe_kube import Object


def sample_objects(settings: ClusterSettings | None = None) -> Iterator[tuple[str, Object]]:
    """Each with the path of the step it is made for."""
    bundle = Bundle.read()
    for path in sorted(bundle.files):
        if not path.startswith("steps/"):
            continue
        step = read_step(bundle, path.removeprefix("steps/").removesuffix(".yaml"))
        for request in sample_requests():
            renderer = Renderer(job_context(bundle, step, request, settings))
            for obj in (*render_manifests(bundle, step, renderer), render_job(bundle, step, renderer)):
                yield path, obj
