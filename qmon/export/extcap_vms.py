"""The VMs and netdevs that Wireshark's interface list shows, found in a few milliseconds.

Owns the quick look: Wireshark asks at every start and waits. So there is no event loop here, only a few bytes
to each monitor that is free or shared, all at once and with one short deadline; a VM that does not answer is
listed from its command line. Must never touch a monitor that somebody else holds, nor one that waits for its
first client.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from qmon.monitor import hmp, unix
from qmon.monitor.address import Address, TcpAddress, UnixAddress
from qmon.monitor.discovery import MonitorSocket, Vm, list_vms

ANSWER_S = 0.06
_LONGEST_LINE = 1 << 20
_ASKED: tuple[dict[str, object], ...] = (
    {"execute": "qmp_capabilities"},
    {"execute": "human-monitor-command", "arguments": {"command-line": "info network"}},
)
_ID = re.compile(r"(?:^|,)id=((?:[^,]|,,)+)")


@dataclass(frozen=True, slots=True)
class ListedVm:
    """A VM and its netdevs: id → what it is, in words (``user, virtio-net-pci``)."""

    vm: Vm
    netdevs: tuple[tuple[str, str], ...]


def listed_vms(*, answer_s: float = ANSWER_S) -> tuple[ListedVm, ...]:
    """Return the VMs of this host that have a monitor qmon can use, by pid."""
    vms = [vm for vm in list_vms() if vm.state != "none"]
    answers: dict[int, str] = {}
    deadline = time.monotonic() + answer_s
    asking = [
        _asking(answers, vm.pid, vm.monitor, deadline)
        for vm in vms
        if vm.monitor is not None and vm.state in ("free", "shared")
    ]
    for thread in asking:
        thread.join(max(deadline - time.monotonic(), 0))
    return tuple(ListedVm(vm, tuple(_netdevs(vm, answers.get(vm.pid)))) for vm in vms)


def _netdevs(vm: Vm, answer: str | None) -> Iterator[tuple[str, str]]:
    if answer is None:
        yield from command_line_netdevs(vm.argv)
        return
    network = hmp.parse_network(answer)
    clients = [client for hub in network.hubs for port in hub.ports if (client := port.client)]
    for client in [*network.clients, *clients]:
        if client.type != "nic":
            yield client.id, client.type
        elif client.peer is not None and client.peer.type != "hubport":
            yield client.peer.id, ", ".join(filter(None, (client.peer.type, client.model)))


def command_line_netdevs(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the id and type of every netdev that a VM was started with and that has an id."""
    for option, value in pairwise(argv):
        if option.lstrip("-") not in ("netdev", "nic"):
            continue
        if value.startswith("{"):
            yield from _from_json(value)
        elif found := _ID.search(value):
            yield found[1].replace(",,", ","), value.partition(",")[0].removeprefix("type=")


def _from_json(value: str) -> Iterator[tuple[str, str]]:
    try:
        options = json.loads(value)
    except ValueError:
        return
    if isinstance(options, dict) and isinstance(options.get("id"), str):
        yield options["id"], str(options.get("type", ""))


# Asking a monitor, without an event loop


def _asking(answers: dict[int, str], pid: int, monitor: MonitorSocket, deadline: float) -> threading.Thread:
    arguments = (answers, pid, monitor, deadline)
    thread = threading.Thread(target=_ask_into, args=arguments, daemon=True, name=f"ask VM {pid}")
    thread.start()
    return thread


def _ask_into(answers: dict[int, str], pid: int, monitor: MonitorSocket, deadline: float) -> None:
    try:
        answers[pid] = _ask(_door(monitor), deadline)
    except (OSError, ValueError, RecursionError):
        return  # It gave no answer in time, or none of QMP's: its command line will do.


def _door(monitor: MonitorSocket) -> Address:
    assert monitor.address is not None
    if monitor.state != "shared":
        return monitor.address
    from qmon.monitor.sharing import relay_path  # A tenth of the whole answer's time, and seldom needed.

    return UnixAddress(str(relay_path(monitor.address)))


def _ask(address: Address, deadline: float) -> str:
    """Return the text of `info network`; OSError or ValueError where it is not to be had."""
    with _connected(address, deadline) as monitor:
        lines = _lines(monitor, deadline)
        # Late replies to a client that has left may come before the greeting, and after it.
        next(said for said in lines if "QMP" in said)
        answer: object = None
        for number, request in enumerate(_ASKED):
            monitor.sendall(json.dumps({**request, "id": f"qmon-{number}"}).encode() + b"\n")
            answer = next(said for said in lines if said.get("id") == f"qmon-{number}").get("return")
            if answer is None:
                raise ValueError("refused")
    return str(answer).replace("\r\n", "\n")


def _connected(address: Address, deadline: float) -> socket.socket:
    if isinstance(address, TcpAddress):
        return socket.create_connection((address.host, address.port), timeout=_left(deadline))
    monitor = unix.unix_socket()
    try:
        unix.connect(monitor, address)
    except OSError:
        monitor.close()
        raise
    return monitor


def _lines(monitor: socket.socket, deadline: float) -> Iterator[dict[str, object]]:
    """Yield what the monitor says, until its end, too long a line (ValueError) or the deadline (TimeoutError)."""
    heard = b""
    while len(heard) < _LONGEST_LINE:
        line, ended, rest = heard.partition(b"\n")
        if ended:
            heard = rest
            said = json.loads(line)
            if not isinstance(said, dict):
                break
            yield said
            continue
        monitor.settimeout(_left(deadline))
        piece = monitor.recv(65536)
        if not piece:
            break
        heard += piece
    raise ValueError("no answer")


def _left(deadline: float) -> float:
    """Return the seconds left; TimeoutError (an OSError) when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
