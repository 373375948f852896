"""The doing of host steps: netlink through pyroute2, sysctls, nftables.

Must never decide what is done, and must take a step that was done before, or whose object is gone, for done: steps
that take something back may come a second time.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from qmon.errors import QmonError, Refused
from qmon.host.steps import HostStep

_GONE = (errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL)
_PROGRAM_S = 20.0


@contextmanager
def netlink() -> Iterator[Any]:
    """Yield pyroute2's route socket; `QmonError` where pyroute2 is not installed."""
    try:
        from pyroute2 import IPRoute
    except ImportError:
        raise QmonError(
            "changing the host's network needs pyroute2, which is not installed",
            hint="pip install 'qmon[host]'",
        ) from None
    with IPRoute() as route:
        yield route


def do(step: HostStep) -> None:
    """Do a step; `Refused` with the kernel's or the program's reason."""
    try:
        _DOERS[step.kind](step.arguments)
    except QmonError:
        raise
    except Exception as problem:
        # pyroute2's errors are exceptions of its own, with the kernel's number and words.
        reason = getattr(problem, "strerror", None) or (problem.args[-1] if problem.args else problem)
        if isinstance(problem, PermissionError) or getattr(problem, "code", None) == errno.EPERM:
            raise Refused(f"{step}: not permitted", hint="This needs root (sudo qmon …).") from problem
        raise Refused(f"{step}: {reason}") from problem


def _index(route: Any, name: str) -> int:
    found = route.link_lookup(ifname=name)
    if not found:
        raise Refused(f"there is no interface '{name}'")
    return int(found[0])


def _quietly(deed: Callable[[], object], *codes: int) -> None:
    """Do something that may have been done: errors of the kernel with one of these numbers are none."""
    try:
        deed()
    except Exception as problem:
        if getattr(problem, "code", None) not in codes:
            raise


def _add_tap(given: Mapping[str, Any]) -> None:
    with netlink() as route:
        owner = {} if given["uid"] is None else {"uid": given["uid"]}
        if not route.link_lookup(ifname=given["name"]):
            route.link("add", ifname=given["name"], kind="tuntap", mode="tap", **owner)


def _add_bridge(given: Mapping[str, Any]) -> None:
    with netlink() as route:
        address = {"address": given["mac"]} if given["mac"] else {}
        if not route.link_lookup(ifname=given["name"]):
            route.link("add", ifname=given["name"], kind="bridge", **address)


def _delete_link(given: Mapping[str, Any]) -> None:
    with netlink() as route:
        for index in route.link_lookup(ifname=given["name"]):
            _quietly(partial(route.link, "del", index=index), *_GONE)


def _set_master(given: Mapping[str, Any]) -> None:
    with netlink() as route:
        master = _index(route, given["bridge"]) if given["bridge"] else 0
        route.link("set", index=_index(route, given["name"]), master=master)


def _set_up(given: Mapping[str, Any]) -> None:
    with netlink() as route:
        route.link("set", index=_index(route, given["name"]), state="up")


def _add_address(given: Mapping[str, Any]) -> None:
    address, _, length = given["address"].partition("/")
    extra = {key: given[key] for key in ("broadcast", "label") if given[key]}
    with netlink() as route:
        index = _index(route, given["link"])
        _quietly(
            lambda: route.addr("add", index=index, address=address, prefixlen=int(length), **extra),
            errno.EEXIST,
        )


def _delete_address(given: Mapping[str, Any]) -> None:
    address, _, length = given["address"].partition("/")
    with netlink() as route:
        index = _index(route, given["link"])
        _quietly(lambda: route.addr("del", index=index, address=address, prefixlen=int(length)), *_GONE)


def _add_route(given: Mapping[str, Any]) -> None:
    fields = dict(given["route"])
    family = {4: 2, 6: 10}[fields.pop("family")]
    names = {"via": "gateway", "metric": "priority", "src": "prefsrc"}
    with netlink() as route:
        said = {names.get(str(name), str(name)): value for name, value in fields.items() if value is not None}
        route.route("replace", family=family, oif=_index(route, given["link"]), **said)


def _sysctl(given: Mapping[str, Any]) -> None:
    path = Path("/proc/sys") / given["name"]
    with suppress(FileNotFoundError):  # The interface is gone, and its sysctl with it.
        path.write_text(given["value"] + "\n")


def _nft(given: Mapping[str, Any]) -> None:
    _run(["nft", "-f", "-"], stdin=given["ruleset"], package="nftables")


def _delete_table(given: Mapping[str, Any]) -> None:
    # Made first where it is gone, so that there is something to delete.
    _run(
        ["nft", "-f", "-"],
        stdin=f"add table {given['table']}\ndelete table {given['table']}\n",
        package="nftables",
    )


def _start(given: Mapping[str, Any]) -> None:
    _run(given["words"], stdin="", package=given["words"][0])


def _stop(given: Mapping[str, Any]) -> None:
    path = Path(given["pid_file"])
    with suppress(FileNotFoundError, ValueError, ProcessLookupError):
        pid = int(path.read_text())
        if given["program"].encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)
    path.unlink(missing_ok=True)


def _run(words: list[str], *, stdin: str, package: str) -> None:
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=_PROGRAM_S)
    except FileNotFoundError:
        raise Refused(f"there is no {words[0]} here", hint=f"apt install {package}") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"{words[0]} gave no answer within {_PROGRAM_S:g} s") from None
    if done.returncode:
        raise Refused(f"{words[0]}: {done.stderr.strip() or f'it ended with {done.returncode}'}")


_DOERS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "add_tap": _add_tap,
    "add_bridge": _add_bridge,
    "delete_link": _delete_link,
    "set_master": _set_master,
    "set_up": _set_up,
    "add_address": _add_address,
    "delete_address": _delete_address,
    "add_route": _add_route,
    "sysctl": _sysctl,
    "nft": _nft,
    "delete_table": _delete_table,
    "start": _start,
    "stop": _stop,
}
