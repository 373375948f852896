"""The host's interfaces as sysfs, `/run` and netlink show them. Nothing is changed, nothing needs rights.

Owns the looking, and what speaks against touching an interface. Must never judge: it says what it found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qmon.host.kernel import netlink
from qmon.monitor.strangers import read_start

_TAP = 0x0002  # IFF_TAP (linux/if_tun.h)
_DHCP_CLIENTS = ("dhclient", "dhcpcd", "udhcpc", "connmand")
_PERMANENT, _GLOBAL, _KERNEL, _MAIN, _UNICAST = 0x80, 0, 2, 254, 1


@dataclass(frozen=True, slots=True)
class Tap:
    """A tap of the host; `owner` is the uid that may use it beside root, `carrier` whether a VM has it open."""

    name: str
    owner: int | None
    bridge: str | None
    carrier: bool


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge of the host and the interfaces in it."""

    name: str
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an interface with its prefix length."""

    text: str
    broadcast: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A route; `fields` are dst, family, via, metric, src, proto, scope, table, as `ip route` calls them."""

    fields: Mapping[str, Any]


SYS, RUN = Path("/sys/class/net"), Path("/run")


def exists(name: str, *, sys: Path = SYS) -> bool:
    """Tell whether there is an interface of that name."""
    return (sys / name).exists()


def taps(*, sys: Path = SYS) -> tuple[Tap, ...]:
    """Return the host's taps, by name."""
    found = []
    for path in sorted(sys.iterdir()):
        flags = _text(path / "tun_flags")
        if flags is not None and int(flags, 16) & _TAP:
            owner = int(_text(path / "owner") or -1)
            found.append(
                Tap(
                    path.name,
                    None if owner < 0 else owner,
                    master(path.name, sys=sys),
                    _text(path / "carrier") == "1",
                )
            )
    return tuple(found)


def bridges(*, sys: Path = SYS) -> tuple[Bridge, ...]:
    """Return the host's bridges, by name."""
    return tuple(
        Bridge(path.name, tuple(sorted(port.name for port in (path / "brif").iterdir())))
        for path in sorted(sys.iterdir())
        if (path / "bridge").is_dir()
    )


def master(name: str, *, sys: Path = SYS) -> str | None:
    """Return the bridge that an interface is in."""
    link = sys / name / "master"
    return link.readlink().name if link.is_symlink() else None


def mac(name: str, *, sys: Path = SYS) -> str | None:
    """Return an interface's hardware address."""
    return _text(sys / name / "address")


def is_wireless(name: str, *, sys: Path = SYS) -> bool:
    """Tell whether an interface is Wi-Fi (net/wireless: its device has a phy80211)."""
    return (sys / name / "phy80211").exists() or (sys / name / "wireless").exists()


def manager_of(name: str, *, sys: Path = SYS, run: Path = RUN) -> str | None:
    """Say what manages an interface and would put back what is changed, None if nothing is seen to."""
    index = _text(sys / name / "ifindex")
    device = _text(run / "NetworkManager/devices" / str(index)) or ""
    if "managed=full" in device or "managed=true" in device:
        return "NetworkManager"
    link = _text(run / "systemd/netif/links" / str(index)) or ""
    if link and "ADMIN_STATE=unmanaged" not in link:
        return "systemd-networkd"
    for pid, words in _processes():
        program = os.path.basename(words[0])  # noqa: PTH119
        if program in _DHCP_CLIENTS and (name in words or len(words) == 1):
            return f"the DHCP client {program} (pid {pid})"
    return None


def ssh_address() -> str | None:
    """Return this host's address that the terminal's ssh came to, also through sudo; None without one."""
    pid = os.getpid()
    while pid > 1:
        try:
            environment = read_start(f"/proc/{pid}/environ", 1 << 20)
            status = read_start(f"/proc/{pid}/status", 4096).decode()
        except OSError:
            return None
        for entry in environment.split(b"\0"):
            if entry.startswith(b"SSH_CONNECTION=") and len(words := entry.decode().split()) == 4:
                return words[2]
        pid = int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:")))
    return None


def default_device() -> str | None:
    """Return the interface of the default route, None if there is none."""
    for line in (_text(Path("/proc/net/route")) or "").splitlines()[1:]:
        words = line.split()
        if words[1] == words[7] == "00000000":
            return words[0]
    return None


def addresses(name: str) -> tuple[Address, ...]:
    """Return an interface's addresses of global scope that were set for good, in the kernel's order."""
    found = []
    with netlink() as route:
        (index,) = route.link_lookup(ifname=name)
        for message in route.get_addr(index=index):
            attributes = dict(message["attrs"])
            if message["scope"] != _GLOBAL or not attributes.get("IFA_FLAGS", message["flags"]) & _PERMANENT:
                continue
            address = attributes.get("IFA_LOCAL") or attributes["IFA_ADDRESS"]
            label = attributes.get("IFA_LABEL")
            found.append(
                Address(
                    f"{address}/{message['prefixlen']}",
                    attributes.get("IFA_BROADCAST"),
                    label if label and label != name else None,
                )
            )
    return tuple(found)


def routes(name: str) -> tuple[Route, ...]:
    """Return the routes through an interface that did not come with its addresses; those to networks first."""
    found = []
    with netlink() as route:
        (index,) = route.link_lookup(ifname=name)
        for family, number in ((2, 4), (10, 6)):
            for message in route.get_routes(family=family, oif=index):
                attributes = dict(message["attrs"])
                if message["type"] != _UNICAST or message["proto"] == _KERNEL:
                    continue
                target = attributes.get("RTA_DST")
                fields = {
                    "dst": "default" if target is None else f"{target}/{message['dst_len']}",
                    "family": number,
                    "via": attributes.get("RTA_GATEWAY"),
                    "metric": attributes.get("RTA_PRIORITY"),
                    "src": attributes.get("RTA_PREFSRC"),
                    "proto": message["proto"],
                    "scope": message["scope"],
                    "table": attributes.get("RTA_TABLE", message["table"]),
                }
                found.append(Route({name: value for name, value in fields.items() if value is not None}))
    return tuple(sorted(found, key=lambda one: "via" in one.fields))


def sysctl(name: str) -> str | None:
    """Return a sysctl's value, named with slashes; None if there is none."""
    return _text(Path("/proc/sys") / name)


def taps_of(pid: int) -> tuple[str, ...]:
    """Return the taps of this network namespace that a process has open (`/proc/PID/fdinfo`, drivers/net/tun.c)."""
    found = set()
    try:
        if os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net"):  # noqa: PTH115
            return ()
        for link in os.scandir(f"/proc/{pid}/fd"):
            if os.readlink(link.path) == "/dev/net/tun":  # noqa: PTH115
                info = read_start(f"/proc/{pid}/fdinfo/{link.name}", 4096).decode()
                found |= {line.split()[1] for line in info.splitlines() if line.startswith("iff:")}
    except (OSError, IndexError):
        pass
    return tuple(sorted(found))


def _processes() -> Iterator[tuple[int, list[str]]]:
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                words = read_start(f"/proc/{name}/cmdline", 4096).decode(errors="replace").split("\0")
            except OSError:
                continue
            if words[0]:
                yield int(name), words[:-1]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
