"""Bridges made and removed, with an interface of the host as their uplink or without one.

An interface in a bridge has no use for addresses of its own: they go over to the bridge with their routes, and come
back. Owns that, and what speaks against it. Must never take the host off its network without a way back.
"""

from __future__ import annotations

from qmon.errors import Refused
from qmon.host import journal, state, steps
from qmon.host.journal import Record
from qmon.host.steps import Deed
from qmon.host.taps import check_name
from qmon.text import plain


def check_uplink(name: str, *, force: bool) -> None:
    """Refuse an interface that cannot be an uplink, or whose change somebody would undo or not survive."""
    if not state.exists(name):
        raise Refused(f"there is no interface '{plain(name)}'")
    if state.is_wireless(name):
        raise Refused(
            f"{plain(name)} is Wi-Fi, which cannot be in a bridge: an access point drops frames whose address is not "
            "the station's own, so the guests would get no answer",
            hint="What works over Wi-Fi: qmon tap add NAME --nat 10.99.0.0/24, or user networking.",
        )
    bridge = state.master(name)
    if bridge is not None:
        raise Refused(f"{plain(name)} is in {plain(bridge)} already")
    if force:
        return
    manager = state.manager_of(name)
    if manager is not None:
        raise Refused(
            f"{plain(name)} is managed by {manager}, which would undo the change or fight it",
            hint="Make the bridge with its own means, so that it lasts; --force does it all the same.",
        )
    here = state.ssh_address()
    if here is not None and here in {one.text.partition("/")[0] for one in state.addresses(name)}:
        raise Refused(
            f"your ssh came in through {plain(name)}; if the bridge does not work, you are cut off",
            hint="--force does it; without your confirmation within 30 s it is taken back.",
        )


def plan_add(name: str, *, uplink: str | None = None) -> tuple[Deed, ...]:
    """Return what makes a bridge; with an uplink, what moves its addresses and routes over."""
    if state.exists(check_name(name)):
        raise Refused(f"there is an interface '{plain(name)}' already")
    # With the uplink's own hardware address DHCP servers and switches see the host they know.
    deeds = [steps.add_bridge(name, state.mac(uplink) if uplink else None), Deed(steps.set_up(name))]
    return (*deeds, *_moved(name, uplink)) if uplink else tuple(deeds)


def _moved(bridge: str, uplink: str) -> list[Deed]:
    addresses, routes = state.addresses(uplink), state.routes(uplink)
    # Taken back in the opposite order: out of the bridge, then the addresses, then the routes, which need them.
    back_routes = tuple(steps.add_route(uplink, route.fields) for route in routes)
    deeds = [Deed(steps.set_up(uplink), back_routes)]
    for address in reversed(addresses):
        again = steps.add_address(uplink, address.text, broadcast=address.broadcast, label=address.label)
        deeds.append(Deed(steps.delete_address(uplink, address.text), (again,)))
    deeds.append(Deed(steps.set_master(uplink, bridge), (steps.set_master(uplink, None),)))
    deeds += [Deed(steps.add_address(bridge, one.text, broadcast=one.broadcast)) for one in addresses]
    return [*deeds, *(Deed(steps.add_route(bridge, route.fields)) for route in routes)]


def plan_remove(name: str) -> Record:
    """Return what removes a bridge and gives its uplink back what it had; `Refused` while something else is in it."""
    bridge = next((one for one in state.bridges() if one.name == name), None)
    if bridge is None:
        raise Refused(f"there is no bridge '{plain(name)}'", hint="`qmon bridge ls` lists them")
    try:
        record = journal.read(journal.made(name))
    except OSError:
        raise Refused(
            f"the bridge {plain(name)} was not made by qmon", hint=f"ip link delete {plain(name)} removes it"
        ) from None
    uplink = uplink_of(record)
    others = [port for port in bridge.ports if port != uplink]
    if others:
        raise Refused(f"in the bridge {plain(name)} there are still {', '.join(map(plain, others))}")
    return record


def uplink_of(record: Record) -> str | None:
    """Return the interface that was put into the bridge when it was made."""
    return next((str(step.arguments["name"]) for step in record.done if step.kind == "set_master"), None)
