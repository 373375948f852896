"""Where a NIC can be plugged in while the VM runs: the PCIe ports of boards whose root bus cannot take any.

Owns the search for a free port (hw/pci-bridge: one device a port). Must never change anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qmon.errors import Refused
from qmon.monitor import commands
from qmon.network.inspect import children

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor

_PORT_MODELS = frozenset({"pcie-root-port", "ioh3420", "xio3130-downstream"})
# The name of the board's own root bus; a port that was given no id has a bus of the same name, which nobody can say.
_ROOT_BUS = "pcie.0"
_PLACES = ("/machine/peripheral", "/machine/peripheral-anon")


@dataclass(frozen=True, slots=True)
class PciePort:
    """A PCIe port: `bus` is the name to give as `bus=`, `taken` whether a device is in it."""

    bus: str
    taken: bool


async def pcie_ports(session: Monitor) -> tuple[PciePort, ...]:
    """Return the VM's hot-pluggable PCIe ports."""
    found = []
    for place in _PLACES:
        for name, kind in (await children(session, place)).items():
            if kind in _PORT_MODELS and (port := await _port(session, f"{place}/{name}")) is not None:
                found.append(port)
    return tuple(found)


async def _port(session: Monitor, path: str) -> PciePort | None:
    try:
        if await commands.qom_get(session, path, "hotplug") is False:
            return None
    except Refused:
        pass  # Models without the property take every device.
    for bus, kind in (await children(session, path)).items():
        if kind == "PCIE" and bus != _ROOT_BUS:
            # A bus links to its devices as child[0], child[1], …
            entries = await commands.qom_list(session, f"{path}/{bus}")
            return PciePort(bus, any(entry.name.startswith("child[") for entry in entries))
    return None


def advice(reason: str, ports: tuple[PciePort, ...]) -> str:
    """Say what would let a NIC be plugged in where QEMU said, in `reason`, that a bus takes none."""
    if f"'{_ROOT_BUS}'" not in reason and not ports:
        return "This machine takes no new NIC on that bus while it runs; start the VM with the NIC (-nic …)"
    start = "start the VM with a spare one: -device pcie-root-port,id=rp9,chassis=9"
    if not ports:
        return f"On this machine a NIC needs a PCIe port of its own; {start}"
    return f"Every PCIe port is taken ({', '.join(port.bus for port in ports)}); {start}"
