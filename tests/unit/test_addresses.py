"""Where the guest answers: the service and the steps read the same address out of a VMI."""

from __future__ import annotations

import pytest

from goldenpipe.cluster.vms import guest_address
from goldenpipe_kube import Object
from goldenpipe_steps.kit.cluster import address_of

ETH0 = {"name": "default", "ipAddress": "10.244.0.7", "infoSource": "domain, guest-agent"}
DOCKER0: Object = {"interfaceName": "docker0", "ipAddress": "172.17.0.1", "infoSource": "guest-agent"}


def vmi(*interfaces: Object) -> Object:
    return {"spec": {"networks": [{"name": "default", "pod": {}}]}, "status": {"interfaces": list(interfaces)}}


@pytest.mark.parametrize("interfaces", [(ETH0,), (ETH0, DOCKER0), (DOCKER0, ETH0)])
def test_an_agent_that_tells_of_more_interfaces_changes_no_address(interfaces: tuple[Object, ...]) -> None:
    assert guest_address(vmi(*interfaces)) == address_of(vmi(*interfaces)) == "10.244.0.7"


@pytest.mark.parametrize("found", [vmi(), vmi(DOCKER0), vmi({"name": "default"}), {"spec": {}, "status": {}}])
def test_while_the_vms_own_network_has_no_address_there_is_none(found: Object) -> None:
    assert guest_address(found) is None
    assert address_of(found) == ""
