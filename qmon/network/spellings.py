"""What to write instead of what this QEMU does not take: backends it lacks, and words of older QEMUs. Pure.

Owns the advice (qapi/net.json, QEMU's list of removed features). Must never decide what is taken: the schema does.
"""

from __future__ import annotations

# What does the job of a backend that a QEMU may lack (qapi/net.json, and what Debian's QEMUs are built with).
INSTEAD = {
    "passt": "QEMU 10.1 brought it. With an older one run passt yourself (apt install passt; passt --socket PATH), and "
    "give stream,id=ID,server=off,addr.type=unix,addr.path=PATH",
    "af-xdp": "QEMU 8.2 brought it; it must be built with libxdp. Without, tap with vhost=on is the fastest there is.",
    "netmap": "It is for FreeBSD's netmap. On Linux vde (apt install vde2) or a bridge with taps joins VMs.",
    "vmnet-host": "It is for macOS. On Linux: tap, with a bridge that has no uplink.",
    "vmnet-shared": "It is for macOS. On Linux: user, or tap with masquerading.",
    "vmnet-bridged": "It is for macOS. On Linux: bridge, or tap in a bridge.",
    "slirp": "The user-mode stack is called user: user,id=ID",
    "none": "`none` only means on QEMU's command line that there is no NIC: qmon unplug NIC",
    "nic": "A NIC is no netdev: qmon nic add, or qmon plug NETDEV --nic MODEL",
    "vde": "This QEMU was built without VDE. stream or dgram joins VMs, and a bridge with taps.",
    "bridge": "This QEMU cannot: take tap, with a tap that is in the bridge.",
}

# Options of `-net` and `-nic`, and of older QEMUs, that a netdev does not have.
_MODERN = {
    "vlan": "vlan= is gone since QEMU 3.0: a NIC names its netdev (netdev=ID), and a hub joins several (hubport)",
    "name": "Write id= for name=",
    "model": "The model is the NIC's: qmon plug NETDEV --nic MODEL",
    "mac": "The address is the NIC's: qmon plug NETDEV --nic MODEL,mac=ADDRESS",
    "macaddr": "The address is the NIC's: qmon plug NETDEV --nic MODEL,mac=ADDRESS",
    "netdev": "netdev= is the NIC's: qmon nic add MODEL,netdev=ID",
    "redir": "Write hostfwd=tcp:127.0.0.1:PORT-:PORT for redir",
    "channel": "Write guestfwd=tcp:ADDRESS:PORT-CHARDEV for channel",
    "reconnect": "QEMU 10.1 and later count in milliseconds: reconnect-ms=",
    "reconnect-ms": "QEMU 10.0 brought reconnect-ms; this one does not reconnect by itself",
}


def modern(kind: str, option: str) -> str | None:
    """Say how an option that a netdev of this kind does not have is written today, None where nothing is known."""
    if option == "reconnect-ms" and kind != "stream":
        return None
    return _MODERN.get(option)
