"""Whether this service leads, and who does if it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from goldenpipe.images import Images, check_cluster
from goldenpipe_kube import Kube


@dataclass(kw_only=True)
class Role:
    """Changes while the service runs."""

    kube: Kube
    elsewhere: Callable[[], str | None] = lambda: None
    """Where the REST API of the leader is, if somebody else leads."""
    leads: bool = False
    images: Images | None = None
    """The use cases; from the moment that this service leads until another one does."""

    @property
    def name(self) -> str:
        return "leader" if self.leads else "standby"

    async def check_health(self) -> None:
        """Return if this service can do its part; `Unavailable` with the reason if not."""
        if self.images is not None:
            await self.images.check_health()
        else:
            await check_cluster(self.kube)
