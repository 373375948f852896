"""What a capture says of where its frames come from, learnt from the VM's network. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qmon.monitor.session import Version
from qmon.network.model import Netdev, Network, Nic
from qmon.network.userstack import Options, user_stack
from qmon.text import plain

_FIRST_WITHOUT_HEADERS = Version(8, 0, 0)
HEADER_BACKENDS = frozenset({"tap", "bridge"})
# Beside all of virtio: models that leave work to a tap by its header (hw/net/{e1000e_core,igb_core,vmxnet3}.c).
_HEADER_MODELS = frozenset({"e1000e", "igb", "vmxnet3"})


@dataclass(frozen=True, slots=True)
class Description:
    """`text` is for people; `mac` is the NIC's; `may_have_headers`: virtio-net headers may precede the frames."""

    text: str = ""
    mac: bytes | None = None
    may_have_headers: bool = False


def describe(network: Network, netdev_id: str, version: Version, *, mirrored: bool = False) -> Description:
    """Describe a netdev and the NIC plugged into it; a mirror has virtio-net headers in every version."""
    netdev = network.netdev(netdev_id)
    if netdev is None:
        return Description()
    nic = network.nic(netdev.nic) if netdev.nic else None
    parts = [f"netdev {netdev.id} ({netdev.type})"]
    if nic is not None:
        parts.append(f"NIC {nic.id}" + (f" ({nic.model})" if nic.model else ""))
    parts.append(f"QEMU {version}")
    return Description(
        ", ".join(map(plain, parts)), _mac(nic), _may_have_headers(netdev, nic, None if mirrored else version)
    )


def _may_have_headers(netdev: Netdev, nic: Nic | None, version: Version | None) -> bool:
    # Seen on 7.2; since 8.0 QEMU leaves the header out of its dumps (net/dump.c).
    if netdev.type not in HEADER_BACKENDS or (version and version >= _FIRST_WITHOUT_HEADERS):
        return False
    return nic is None or nic.model is None or shares_headers(nic.model)


def shares_headers(model: str) -> bool:
    """Say whether frames between a NIC of this model and a tap may carry virtio-net headers."""
    return model.startswith("virtio") or model in _HEADER_MODELS


def _mac(nic: Nic | None) -> bytes | None:
    try:
        mac = bytes.fromhex(nic.mac.replace(":", "")) if nic and nic.mac else b""
    except ValueError:
        return None
    return mac if len(mac) == 6 else None


def names(stacks: Iterable[tuple[Netdev, Sequence[Options]]]) -> dict[str, str]:
    """Return what the addresses of user-mode stacks stand for; nothing of those whose addresses are not known.

    `stacks` are netdevs, each with the networks that its QEMU was started with (`Vm.networks`). An address
    that several stacks use for the same is named without one's id, one that they use for different things not at all.
    """
    found: dict[str, set[tuple[str, str]]] = {}
    for netdev, networks in stacks:
        stack = user_stack(netdev, networks)
        for address, role in stack.roles.items() if stack else ():
            found.setdefault(address, set()).add((role, netdev.id))
    return {address: _name(uses) for address, uses in found.items() if len({role for role, _ in uses}) == 1}


def _name(uses: set[tuple[str, str]]) -> str:
    (role, netdev), *others = uses
    if others or netdev.startswith("#"):
        return f"{role}.qemu"
    return f"{role}.{plain(netdev)}.qemu"


def present_netdevs(network: Network) -> dict[str, str]:
    """Return the live netdevs as id → type, without the hubs' own ports."""
    return {one.id: one.type for one in network.netdevs if not one.ghost and one.type != "hubport"}


def present_nics(network: Network) -> dict[str, str]:
    """Return the NICs as id → model."""
    return {one.id: one.model or "?" for one in network.nics}


def tappable(network: Network) -> list[str]:
    """Return the ids of the netdevs that a capture of everything tries."""
    return list(present_netdevs(network))
