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
    leader: Callable[[], str | None]
    """Where the REST API of the leader is, if somebody else leads."""
    images: Images | None = None
    """The use cases, while this service leads."""

    @property
    def name(self) -> str:
        return "standby" if self.images is None else "leader"

    async def check_health(self) -> None:
        """Return if this service can do its part; `Unavailable` with the reason if not."""
        if self.images is not None:
            await self.images.check_health()
        else:
            await check_cluster(self.kube)
