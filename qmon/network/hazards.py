"""What a change would do to the guest that nobody asked for, found before anything is sent. Pure.

Owns the rules, each with the QEMU it was seen on. Must never send anything, and never look at the host: what the
rules need to know is handed in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from qmon.errors import Refused
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.session import Version
    from qmon.network.model import Network

# 7.2 ends itself by an assertion; 10.0 is the oldest that was seen to refuse in peace.
_VHOST_SAFE_SINCE = 10
_OPEN_RULE = re.compile(r"(tcp|udp|):(0\.0\.0\.0)?:")


def asks_for_vhost(netdev: Mapping[str, object]) -> bool:
    """Tell whether adding this netdev makes QEMU open `/dev/vhost-net` itself."""
    wanted = netdev.get("vhost") is True or netdev.get("vhostforce") is True
    return netdev.get("type") == "tap" and wanted and not {"vhostfd", "vhostfds"} & netdev.keys()


def check_vhost(netdev: Mapping[str, object], version: Version, *, usable: bool | None) -> None:
    """Refuse a `tap` with vhost where QEMU could not open `/dev/vhost-net`: an old QEMU aborts then.

    `usable` says whether that QEMU can open it, None where it cannot be seen from here.
    """
    if not asks_for_vhost(netdev) or usable or version.major >= _VHOST_SAFE_SINCE:
        return
    why = "cannot open /dev/vhost-net" if usable is False else "may be unable to open /dev/vhost-net"
    raise Refused(
        f"not sent: this QEMU ({version}) {why}, and would abort: the VM would be gone",
        hint="Leave out vhost=on, or load the module (modprobe vhost_net) and give QEMU's user access to it.",
    )


def check_netdev_removal(network: Network, id_: str, *, force: bool) -> None:
    """Refuse the removal of a netdev that something is plugged into: QEMU would do it, and the NIC would be dead."""
    netdev = network.netdev(id_)
    if netdev is not None and netdev.ghost:
        raise Refused(
            f"the netdev {plain(id_)} was deleted already; its NIC {plain(netdev.nic or '?')} is still there, dead",
            hint=f"qmon unplug {plain(netdev.nic or 'NIC')}",
        )
    user = netdev_user(network, id_)
    if user is None or force:
        return
    nic = netdev.nic if netdev is not None else None
    advice = f"qmon unplug {plain(nic)} removes the NIC and the netdev; " if nic else ""
    raise Refused(
        f"the netdev {plain(id_)} is in use: {user}",
        hint=f"{advice}--force removes it all the same: the NIC stays, dead, until it is unplugged.",
    )


def netdev_user(network: Network, id_: str) -> str | None:
    """Say what is plugged into a netdev, None if nothing is."""
    netdev = network.netdev(id_)
    if netdev is not None and netdev.nic is not None:
        return f"the NIC {plain(netdev.nic)} is plugged into it"
    if netdev is not None and netdev.hub is not None:
        return f"it is plugged into hub {netdev.hub}"
    port = next((port for hub in network.hubs for port in hub.ports if port.id == id_), None)
    if port is not None and port.peer is not None:
        return f"{plain(port.peer)} is plugged into it"
    return None


def ghost_warning(network: Network, id_: str) -> str | None:
    """Warn that a new netdev of this id does not bring a NIC back that was plugged into an older one."""
    ghost = next((one for one in network.netdevs if one.id == id_ and one.ghost), None)
    if ghost is None:
        return None
    return (
        f"the NIC {plain(ghost.nic or '?')} was plugged into an older netdev {plain(id_)} that was deleted: it is not "
        "connected to this new one and has to be unplugged and plugged in again"
    )


def open_forwards(netdev: Mapping[str, object]) -> tuple[str, ...]:
    """Warn of the forwards of a new netdev that listen on every address of the host."""
    rules = netdev.get("hostfwd")
    texts = (
        [str(rule.get("str")) for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    )
    return tuple(
        f"hostfwd={plain(text)} listens on every address of the host; tcp:127.0.0.1:… keeps it to the host itself"
        for text in texts
        if _OPEN_RULE.match(text)
    )
