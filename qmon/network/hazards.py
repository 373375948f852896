"""What a change would do to the guest that nobody asked for, found before anything is sent. Pure.

Owns the rules, each with the QEMU it was seen on. Must never send anything, and never look at the host: what
the rules need to know is handed in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from qmon.errors import Refused
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.session import Version
    from qmon.network.model import Network

# 7.2 ends itself by an assertion; 10.0 is the oldest that was seen to refuse in peace.
_VHOST_SAFE_SINCE = 10
_BOOTFILE_BYTES = 128
# Options of `tap` that name descriptors, and what these have to be.
_DESCRIPTORS = {
    "fds": ("/dev/net/tun", "/dev/tap"),
    "vhostfd": ("/dev/vhost-net",),
    "vhostfds": ("/dev/vhost-net",),
}
# Kinds of netdev that must not be removed, and why: net/passt.c leaves watches behind that read what was freed; 11.1.3
# ended by SIGSEGV each time.
_LASTING = {"passt": "removing a passt netdev ends this QEMU: the VM would be gone"}
_OPEN_RULE = re.compile(r"(tcp|udp|):(0\.0\.0\.0)?:")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What of the QEMU process the rules want to know; None is what cannot be seen from here.

    `opens_vhost_net` says whether it could open `/dev/vhost-net`; `descriptors` maps the numbers of its open ones
    to what they are, as `/proc/PID/fd` spells it.
    """

    opens_vhost_net: bool | None = None
    descriptors: Mapping[str, str] | None = None


def check_netdev(netdev: Mapping[str, object], version: Version, around: Surroundings) -> None:
    """Refuse a netdev whose failing would cost the VM its life or a descriptor that is not the netdev's."""
    if netdev.get("type") == "tap":
        _check_vhost(netdev, version, around.opens_vhost_net)
        _check_descriptors(netdev, around.descriptors)
    elif netdev.get("type") == "user":
        _check_bootfile(netdev)
    elif netdev.get("type") == "l2tpv3":
        _check_tunnel(netdev)


def _check_vhost(netdev: Mapping[str, object], version: Version, usable: bool | None) -> None:
    # 7.2: net_client_init1: Assertion `nc' failed; 10.0 and 11.1 refuse in peace.
    wanted = netdev.get("vhost") is True or netdev.get("vhostforce") is True
    if not wanted or {"vhostfd", "vhostfds"} & netdev.keys() or usable or version.major >= _VHOST_SAFE_SINCE:
        return
    why = "cannot open /dev/vhost-net" if usable is False else "may be unable to open /dev/vhost-net"
    raise Refused(
        f"not sent: this QEMU ({version}) {why}, and would abort: the VM would be gone",
        hint="Leave out vhost=on, or load the module (modprobe vhost_net) and give QEMU's user access to it.",
    )


def _check_descriptors(netdev: Mapping[str, object], open_ones: Mapping[str, str] | None) -> None:
    # A descriptor that is none aborts 7.2 (vhostfd, fds), 10.0 (fds) and 11.1 (vhostfd: freed twice); one that is
    # something else is closed by them. A single fd= is refused in peace.
    for option, kinds in _DESCRIPTORS.items():
        given = str(netdev.get(option) or "")
        for name in given.split(":") if given else ():
            what = None if open_ones is None else open_ones.get(name, "")
            if what is None or not what.startswith(kinds):
                raise Refused(
                    f"not sent: {option}={plain(given)}: {_descriptor_trouble(name, what)}, and QEMU may abort over "
                    "a wrong one: the VM would be gone",
                    hint=f"Leave {option}= out and let QEMU open the device itself.",
                )


def _descriptor_trouble(name: str, what: str | None) -> str:
    if what is None:
        return f"whether the VM has a descriptor {plain(name)} cannot be seen from here"
    if not name.isdecimal():
        return f"what the descriptor named '{plain(name)}' is cannot be seen"
    return f"descriptor {plain(name)} of the VM is {plain(what) or 'not open'}"


def _check_bootfile(netdev: Mapping[str, object]) -> None:
    # libslirp: slirp_new: assertion on strlen(cfg->bootfile), in all versions.
    length = len(str(netdev.get("bootfile") or "").encode("utf-8", "surrogateescape"))
    if length >= _BOOTFILE_BYTES:
        raise Refused(
            f"not sent: bootfile= has {length} bytes; from {_BOOTFILE_BYTES} on QEMU aborts: the VM would be gone",
            hint="Give the boot file a shorter name.",
        )


def _check_tunnel(netdev: Mapping[str, object]) -> None:
    # net/l2tpv3.c closes a descriptor that it has not got yet, number 0, whenever it fails (all versions).
    has_ports = {"srcport", "dstport"} <= netdev.keys()
    if netdev.get("udp") is True and not has_ports:
        raise Refused(
            "not sent: udp=on needs srcport= and dstport=; QEMU would close its descriptor 0 as it fails"
        )
    for end in ("src", "dst"):
        try:
            ip_address(str(netdev.get(end)))
        except ValueError:
            raise Refused(
                f"not sent: {end}={plain(str(netdev.get(end)))} is not a numeric address; QEMU would close its "
                "descriptor 0 if it could not resolve it",
                hint="Give a numeric address, such as 127.0.0.1.",
            ) from None


def lasting(kind: object) -> str | None:
    """Say why a netdev of this kind must stay until the VM ends, None if it need not."""
    return _LASTING.get(str(kind))


def warnings(netdev: Mapping[str, object]) -> tuple[str, ...]:
    """Warn of what a new netdev brings that its user may not expect."""
    stays = lasting(netdev.get("type"))
    told = f"{plain(str(netdev.get('id')))} stays until the VM ends: {stays}; stream to a passt of your own does not"
    return (*open_forwards(netdev), *((told,) if stays else ()))


def check_netdev_removal(network: Network, id_: str, *, force: bool) -> None:
    """Refuse the removal of a netdev that something is plugged into: QEMU would do it, and the NIC would be dead."""
    netdev = network.netdev(id_)
    if netdev is not None and (stays := lasting(netdev.type)):
        raise Refused(f"not sent: {stays}", hint="It goes with the VM.")
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
