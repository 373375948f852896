"""Wireshark's extcap protocol: the sentences qmon answers with (pure).

Owns the grammar (Wireshark's doc/extcap.4 and doc/extcap_example.py) and the names of qmon's interfaces. Must
never ask a VM: what runs comes in, text goes out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from qmon import __version__
from qmon.errors import CannotAttach
from qmon.export.extcap_vms import ListedVm
from qmon.text import cut, plain

ANY = "qmon"
OWN_VM = "own"
DIRECTIONS = ("both", "in", "out")
LARGEST = 262_144
_NAMEABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,60}")
_LINK_TYPE = "dlt {number=1}{name=EN10MB}{display=Ethernet}"


@dataclass(frozen=True, slots=True)
class Choice:
    """An interface of Wireshark's list: one netdev of one VM; its `name` is what Wireshark keeps."""

    name: str
    display: str
    pid: int
    netdev: str


def choices(vms: Sequence[ListedVm]) -> tuple[Choice, ...]:
    """Return an interface for every netdev, its name made of the VM's name, or of its pid if that is no good.

    No good is a name that is missing, that another VM has too, or that holds what Wireshark's lists cannot.
    """
    found = []
    for name, listed in _by_name(vms).items():
        vm = name.replace(":", "")
        shown = listed.vm.name or f"pid {listed.vm.pid}"
        for netdev, kind in listed.netdevs:
            display = _shown(f"{netdev} of the VM {shown}" + (f" ({kind})" if kind else ""))
            found.append(Choice(f"{ANY}-{vm}-{_named(netdev)}", display, listed.vm.pid, netdev))
    return tuple({choice.name: choice for choice in found}.values())


def interfaces(vms: Sequence[ListedVm]) -> Iterator[str]:
    """Yield the answer to --extcap-interfaces: every netdev, and one interface whose VM is named in its options."""
    yield f"extcap {{version={__version__}}}{{display=qmon}}"
    yield f"interface {{value={ANY}}}{{display=QEMU VM, chosen in the options}}"
    for choice in choices(vms):
        yield f"interface {{value={choice.name}}}{{display={choice.display}}}"


def link_types() -> Iterator[str]:
    """Yield the answer to --extcap-dlts."""
    yield _LINK_TYPE


def options(vms: Sequence[ListedVm], interface: str) -> Iterator[str]:
    """Yield the answer to --extcap-config: what the dialog of an interface asks for."""
    own = "The only VM running" if interface == ANY else "The one this interface is named after"
    yield "arg {number=0}{call=--vm}{display=VM}{tooltip=Whose packets are captured}{type=selector}"
    yield f"value {{arg=0}}{{value={OWN_VM}}}{{display={own}}}{{default=true}}"
    for name, listed in _by_name(vms).items():
        shown = _shown(listed.vm.name or listed.vm.binary)
        yield f"value {{arg=0}}{{value={name}}}{{display={shown} (pid {listed.vm.pid})}}"
    number = 1
    if interface == ANY:
        yield (
            "arg {number=1}{call=--netdev}{display=Netdev}"
            "{tooltip=Its id, several with commas between. Empty: all that can be captured}{type=string}"
        )
        number = 2
    yield (
        f"arg {{number={number}}}{{call=--filter}}{{display=Filter}}"
        "{tooltip=In the pcap-filter language: tcp port 80 and host 10.0.2.15}{type=string}"
    )
    yield (
        f"arg {{number={number + 1}}}{{call=--snaplen}}{{display=Snapshot length}}"
        f"{{tooltip=Bytes kept of each packet}}{{type=integer}}{{range=1,{LARGEST}}}{{default={LARGEST}}}"
    )
    yield (
        f"arg {{number={number + 2}}}{{call=--direction}}{{display=Direction}}"
        "{tooltip=in: to the guest. out: sent by the guest}{type=selector}"
    )
    for direction in DIRECTIONS:
        default = "{default=true}" if direction == "both" else ""
        yield f"value {{arg={number + 2}}}{{value={direction}}}{{display={direction}}}{default}"
    yield (
        f"arg {{number={number + 3}}}{{call=--limit}}{{display=Memory}}"
        "{tooltip=In which packets may wait to be read: 256MB, 1GiB}{type=string}{default=1GiB}"
    )


def chosen(vms: Sequence[ListedVm], interface: str, vm: str) -> tuple[int | None, str | None]:
    """Return the pid and the netdev that an interface and its VM option mean.

    No pid: the only VM running; no netdev: as the options say. `CannotAttach` if the VM or netdev is gone.
    """
    pid = None if vm in ("", OWN_VM) else _pid(vms, vm)
    if interface == ANY:
        return pid, None
    known = {choice.name: choice for choice in choices(vms)}
    found = known.get(interface)
    if found is None:
        raise CannotAttach(
            f"{plain(interface)}: this VM or its netdev is gone",
            hint="Capture > Refresh Interfaces (F5) shows what runs now",
        )
    return (found.pid if pid is None else pid), found.netdev


def _by_name(vms: Sequence[ListedVm]) -> dict[str, ListedVm]:
    """Return the VMs by a word that Wireshark may keep: the VM's name, else ``pid:N``."""
    names = Counter(listed.vm.name for listed in vms)
    found = {}
    for listed in vms:
        name = listed.vm.name
        if name is None or names[name] > 1 or not _NAMEABLE.fullmatch(name):
            name = f"pid:{listed.vm.pid}"
        found[name] = listed
    return found


def _pid(vms: Sequence[ListedVm], vm: str) -> int:
    found = _by_name(vms).get(vm)
    if found is None:
        raise CannotAttach(f"the VM {plain(vm)} is no longer running", hint="choose another in the options")
    return found.vm.pid


def _named(netdev: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", netdev)


def _shown(text: str) -> str:
    """Return text for a sentence's braces: no brace, no control character, not too long."""
    return cut(plain(text).replace("{", "(").replace("}", ")"), 80)


def joined(sentences: Iterable[str]) -> str:
    """Return sentences as Wireshark reads them, one a line."""
    return "\n".join(sentences) + "\n"
