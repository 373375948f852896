"""qmon shows and shapes the network of a running QEMU VM."""

from typing import Any

__version__ = "0.1.0"


def scapy_socket(
    vm: str | None = None,
    netdev: str | None = None,
    *,
    toward: str = "guest",
    pps: float | None = 100,
    yes: bool = False,
) -> Any:
    """Return a socket of scapy's kind on the wire of a running VM, to be used as `with`.

    `vm` and `netdev` are named as on the command line. What is sent goes `toward` the guest or the network, at most
    `pps` frames a second (None: as fast as QEMU takes them); what comes from there is received. The socket has `sr`,
    `sr1` and `sniff`, works in `sndrcv(s, …)` and `sniff(opened_socket=s)`, and knows a neighbour's `mac` and `address`
    to ask from. `yes` allows to send toward a network where other machines may be.

        with qmon.scapy_socket("web", "u1") as s:
            s.sr1(IP(dst="10.0.2.15") / ICMP(), timeout=2)
    """
    from qmon.wire.scapy_socket import open_socket

    return open_socket(vm, netdev, toward=toward, pps=pps, yes=yes)
