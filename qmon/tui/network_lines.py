"""The network of a VM as lines of a tree (pure).

Owns the order and the words; the pane draws them. Texts are already plain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qmon.network.inspect import forwards
from qmon.network.model import Forward, Netdev, Nic
from qmon.text import plain, width

if TYPE_CHECKING:
    from qmon.snapshot import Snapshot

Part = tuple[str, str]


@dataclass(frozen=True, slots=True)
class TreeLine:
    """One line: `kind` and `id` say what it stands for, `parts` and `mark` (at the right) are (style, text)."""

    kind: str
    id: str
    parts: tuple[Part, ...]
    mark: Part = ("dim", "")
    guide: str = ""
    subject: Nic | Netdev | Forward | None = None


def tree_lines(now: Snapshot) -> tuple[TreeLine, ...]:
    """Return the tree: NICs with what they are plugged into, hubs, then what is not connected."""
    network = now.network
    lines: list[TreeLine] = []
    shown: set[int] = set()
    for nic in network.nics:
        if nic.hub is not None:
            continue
        lines.append(_nic(nic))
        backends = network.below(nic.id)
        shown |= {id(netdev) for netdev in backends}
        lines += _branch([_netdev(now, netdev) for netdev in backends] or [[_unplugged()]])
    for hub in network.hubs:
        lines.append(TreeLine("hub", str(hub.id), (("strong", f"hub {hub.id}"),)))
        ports: list[list[TreeLine]] = []
        for port in hub.ports:
            nic_there = network.nic(port.peer) if port.peer else None
            netdev_there = network.netdev(port.peer) if port.peer else None
            if nic_there is not None:
                ports.append([_nic(nic_there)])
            elif netdev_there is not None:
                shown.add(id(netdev_there))
                ports.append(_netdev(now, netdev_there))
            else:
                ports.append([TreeLine("note", "", (("dim", plain(port.peer or "an empty port")),))])
        lines += _branch(ports)
    rest = [netdev for netdev in network.netdevs if id(netdev) not in shown]
    if rest:
        lines.append(TreeLine("heading", "", (("heading", "Not plugged in"),)))
        lines += _branch([_netdev(now, netdev) for netdev in rest])
    if network.not_understood:
        lines.append(TreeLine("heading", "", (("heading", "Not understood"),)))
        lines += [TreeLine("note", "", (("dim", plain(text)),), guide=" ") for text in network.not_understood]
    lines += [TreeLine("note", "", (("bad", sentence),), guide=" ") for sentence in network.not_asked]
    return tuple(lines)


def _nic(nic: Nic) -> TreeLine:
    parts: list[Part] = [("strong", plain(nic.id))]
    if nic.model:
        parts.append(("dim", plain(nic.model)))
    if nic.queues > 1:
        parts.append(("faint", f"{nic.queues} queues"))
    mark: Part = (
        ("bad", "link down") if nic.link_up is False else ("good", "up") if nic.link_up else ("dim", "")
    )
    return TreeLine("nic", nic.id, tuple(parts), mark, subject=nic)


def _unplugged() -> TreeLine:
    return TreeLine("note", "", (("warn", "not connected"),))


def _netdev(now: Snapshot, netdev: Netdev) -> list[TreeLine]:
    parts: list[Part] = [("text", plain(netdev.id)), ("dim", plain(netdev.type))]
    if netdev.ghost:
        return [TreeLine("ghost", netdev.id, (*parts, ("warn", "deleted, still in use")), subject=netdev)]
    lines = [TreeLine("netdev", netdev.id, tuple(parts), _tap_mark(now, netdev.id), subject=netdev)]
    below: list[list[TreeLine]] = []
    below += [[_forward(forward)] for forward in forwards(now.usernet) if forward.netdev == netdev.id]
    for filter_ in netdev.filters:
        if not filter_.ours:
            words = (("dim", plain(filter_.id)), ("faint", plain(filter_.type)))
            below.append([TreeLine("filter", filter_.id, words)])
    return [*lines, *_branch(below)]


def _tap_mark(now: Snapshot, netdev: str) -> Part:
    tap = next((tap for tap in now.taps if tap.netdev == netdev), None)
    if tap is not None and tap.reason is None:
        return ("bad", f"● {tap.dropped:,} dropped") if tap.dropped else ("recording", "●")
    if netdev in dict(now.not_tapped):
        return ("warn", "cannot tap")
    return ("faint", "○")


def _forward(forward: Forward) -> TreeLine:
    host = _host(forward)
    return TreeLine("forward", f"{host}:{forward.host_port}", forward_parts(forward, 1000), subject=forward)


def _host(forward: Forward) -> str:
    return "*" if forward.host_address in ("", "*", "0.0.0.0") else plain(forward.host_address)


def forward_parts(forward: Forward, cells: int) -> tuple[Part, ...]:
    """Return a forward in at most so many cells: without the usual addresses where there is no room, never without
    a port. A host address other than loopback stays: it says who can come in."""
    host, guest = _host(forward), plain(forward.guest_address)
    short = "" if host.startswith("127.") or host == "::1" else host
    parts: tuple[Part, ...] = ()
    for from_address, to_address in ((host, guest), (short, guest), (short, "")):
        parts = (
            ("dim", plain(forward.protocol)),
            ("warn" if host == "*" else "text", f"{from_address}:{forward.host_port}"),
            ("faint", "→"),
            ("text", f"{to_address}:{forward.guest_port}"),
        )
        if sum(width(part) + 1 for _, part in parts) - 1 <= cells:
            break
    return parts


def details(subject: Nic | Netdev | Forward, now: Snapshot) -> str:
    """Return all that is known of a NIC, netdev or forward, a line a fact; foreign text."""
    if isinstance(subject, Nic):
        link = {None: "unknown (QEMU does not report it)", True: "up", False: "down"}[subject.link_up]
        facts = [("model", subject.model), ("MAC address", subject.mac), ("netdev", subject.netdev)]
        facts += [("link", link), ("queues", str(subject.queues)), ("QOM path", subject.path)]
    elif isinstance(subject, Netdev):
        facts = [("type", subject.type), ("info", subject.info), ("NIC", subject.nic)]
        facts += [("queues", str(subject.queues)), ("not tapped", dict(now.not_tapped).get(subject.id))]
        for tap in now.taps:
            if tap.netdev == subject.id:
                facts.append(
                    ("tap", f"{tap.packets:,} packets, {tap.bytes:,} bytes, {tap.dropped:,} dropped")
                )
        for filter_ in (one for one in subject.filters if not one.ours):
            words = ", ".join(f"{name}={value}" for name, value in filter_.properties)
            facts.append(("filter", f"{filter_.id} ({filter_.type}) {words}"))
    else:
        facts = [("netdev", subject.netdev), ("protocol", subject.protocol)]
        facts.append(("host", f"{subject.host_address}:{subject.host_port}"))
        facts.append(("guest", f"{subject.guest_address}:{subject.guest_port}"))
    return "\n".join(f"{name:<12} {plain(value)}" for name, value in facts if value)


def _branch(children: Sequence[Sequence[TreeLine]]) -> Iterator[TreeLine]:
    """Set the guides of children, each with what lies below it."""
    for number, child in enumerate(children):
        last = number == len(children) - 1
        first, *below = child
        yield replace(first, guide=("└ " if last else "├ ") + first.guide)
        yield from _under(below, "  " if last else "│ ")


def _under(lines: Iterable[TreeLine], guide: str) -> Iterator[TreeLine]:
    for line in lines:
        yield replace(line, guide=guide + line.guide)
