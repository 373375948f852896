"""What is plugged into what in one VM, as frozen records.

Owns the words: netdev, NIC, hub, filter, forward. Must never ask a VM anything: `inspect.py` fills these.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qmon.network.ids import PREFIX


@dataclass(frozen=True, slots=True)
class Filter:
    """A packet filter on a netdev (net/filter.c); `properties` are QEMU's own names and values, as text."""

    id: str
    type: str
    netdev: str
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def ours(self) -> bool:
        """Tell whether a qmon made it."""
        return self.id.startswith(PREFIX)


@dataclass(frozen=True, slots=True)
class Netdev:
    """A backend. A `ghost` was deleted while a NIC was plugged into it: the NIC is dead, the id is free again.

    `info` is QEMU's own description, cut by QEMU at 255 characters; `nic` and `hub` say what it is plugged into.
    """

    id: str
    type: str
    info: str = ""
    nic: str | None = None
    hub: int | None = None
    filters: tuple[Filter, ...] = ()
    queues: int = 1
    ghost: bool = False


@dataclass(frozen=True, slots=True)
class Nic:
    """A NIC. `path` is where it lives in QOM, None where that was not found.

    `link_up` is what qmon set last, None where nobody can know: QEMU has no way to ask.
    """

    id: str
    model: str | None
    mac: str | None
    netdev: str | None = None
    hub: int | None = None
    path: str | None = None
    queues: int = 1
    link_up: bool | None = None


@dataclass(frozen=True, slots=True)
class HubPort:
    """A port of a hub; `peer` is the id of the netdev or NIC in it."""

    id: str
    peer: str | None


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub: every port hears every other."""

    id: int
    ports: tuple[HubPort, ...]


@dataclass(frozen=True, slots=True)
class Forward:
    """A host port that a user-mode stack forwards into the guest; `host_address` ``*`` is all of the host's."""

    netdev: str
    protocol: str
    host_address: str
    host_port: int
    guest_address: str
    guest_port: int


@dataclass(frozen=True, slots=True)
class Network:
    """All of it at one moment.

    `not_understood` are the lines of QEMU's text that could not be read, `not_asked` says, in sentences, what was left
    out because a VM has too many of something.
    """

    netdevs: tuple[Netdev, ...] = ()
    nics: tuple[Nic, ...] = ()
    hubs: tuple[Hub, ...] = ()
    not_understood: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()
    _netdevs: dict[str, Netdev] = field(init=False, repr=False, compare=False)
    _nics: dict[str, Nic] = field(init=False, repr=False, compare=False)
    _below: dict[str, list[Netdev]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        netdevs: dict[str, Netdev] = {}
        below: dict[str, list[Netdev]] = {}
        for netdev in self.netdevs:
            if netdev.nic is not None:
                below.setdefault(netdev.nic, []).append(netdev)
            known = netdevs.get(netdev.id)
            if known is None or (known.ghost and not netdev.ghost):
                netdevs[netdev.id] = netdev
        object.__setattr__(self, "_netdevs", netdevs)
        object.__setattr__(self, "_below", below)
        object.__setattr__(self, "_nics", {nic.id: nic for nic in reversed(self.nics)})

    def netdev(self, id_: str) -> Netdev | None:
        """Return the live netdev of that id; a ghost only where there is no other."""
        return self._netdevs.get(id_)

    def nic(self, id_: str) -> Nic | None:
        """Return the NIC of that id, of several the first."""
        return self._nics.get(id_)

    def below(self, nic: str) -> tuple[Netdev, ...]:
        """Return the netdevs that are plugged into NICs of that id, in QEMU's order."""
        return tuple(self._below.get(nic, ()))
