"""The NIC models a QEMU has, and their properties, asked one model at a time.

Owns the list of names worth asking for. Must never send `qom-list-types` or `device_add help`: QEMU would load
every module on disk, and one of another build ends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from qmon.errors import Refused, UsageError
from qmon.monitor import commands
from qmon.monitor.commands import Property
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor

# NICs on buses that take devices while the VM runs (hw/net; ISA and on-board ones do not). Names that a QEMU does
# not have are left out of its list.
CANDIDATES = (
    "virtio-net-pci",
    "virtio-net-pci-non-transitional",
    "virtio-net-pci-transitional",
    "virtio-net-ccw",
    "e1000",
    "e1000-82544gc",
    "e1000-82545em",
    "e1000e",
    "igb",
    "rtl8139",
    "ne2k_pci",
    "pcnet",
    "vmxnet3",
    "tulip",
    "sungem",
    "sunhme",
    "rocker",
    "spapr-vlan",
    "i82550",
    "i82551",
    "i82557a",
    "i82557b",
    "i82557c",
    "i82558a",
    "i82558b",
    "i82559a",
    "i82559b",
    "i82559c",
    "i82559er",
    "i82562",
    "i82801",
    "usb-net",
)
# Other names of a model that device_add knows and device-list-properties does not (system/qdev-monitor.c).
_ALIASES = {"virtio-net": ("virtio-net-pci", "virtio-net-ccw", "virtio-net-device")}


@dataclass(frozen=True, slots=True)
class NicModel:
    """A model this QEMU has; `bus` is the kind of bus it goes into."""

    name: str
    bus: str


@dataclass(frozen=True, slots=True)
class NicOption:
    """A property of a model as `device-list-properties` tells it; `default` as a user would write it."""

    name: str
    type: str
    default: str | None
    description: str | None


async def nic_models(session: Monitor) -> tuple[NicModel, ...]:
    """Return the models of this QEMU that can be plugged into a running VM with the right bus."""
    found = []
    for name in CANDIDATES:
        properties = {one.name for one in await _ask(session, name) or ()}
        if "netdev" in properties:
            found.append(NicModel(name, _bus(name, properties)))
    return tuple(found)


async def nic_properties(session: Monitor, model: str) -> dict[str, str]:
    """Return a NIC model's properties as name → QEMU's type; UsageError if this is no NIC of this QEMU."""
    return {one.name: one.type for one in await _described(session, model)}


async def nic_options(session: Monitor, model: str) -> tuple[NicOption, ...]:
    """Return the options of a model, by name, without what only its own code sets; UsageError as `nic_properties`."""
    return tuple(
        sorted(
            (_option(one) for one in await _described(session, model) if "<" not in one.type),
            key=lambda option: option.name,
        )
    )


def _option(one: Property) -> NicOption:
    default = one.default
    if isinstance(default, bool):
        default = "on" if default else "off"
    return NicOption(
        one.name,
        "on|off" if one.type == "bool" else one.type,
        None if default is None else str(default),
        one.description,
    )


async def _described(session: Monitor, model: str) -> Sequence[Property]:
    for name in (model, *_ALIASES.get(model, ())):
        properties = await _ask(session, name)
        if properties is None:
            continue
        if all(one.name != "netdev" for one in properties):
            raise UsageError(
                f"{plain(model)} is not a NIC", hint="`qmon nic models` lists those this QEMU has"
            )
        return properties
    names = [one.name for one in await nic_models(session)]
    close = get_close_matches(model, names, n=1)
    guess = f"; did you mean '{close[0]}'?" if close else ""
    raise UsageError(f"this QEMU has no NIC '{plain(model)}'{guess}", hint=f"it has: {', '.join(names)}")


async def _ask(session: Monitor, model: str) -> Sequence[Property] | None:
    try:
        return await commands.device_list_properties(session, model)
    except Refused:
        return None


def _bus(name: str, properties: Iterable[str]) -> str:
    if "addr" in properties:
        return "PCI"
    return "USB" if name.startswith("usb-") else name.rpartition("-")[2].upper()
