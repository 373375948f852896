"""A forward to the guest's ssh port, for as long as somebody uses it.

Owns which forward is used, and how ssh is told whose key to expect there. Must never take away a forward that it did
not make.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from qmon.errors import Interrupted, QmonError
from qmon.network.forward import add_forwards, list_forwards, remove_forwards
from qmon.network.steps import to_the_end

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor
    from qmon.network.model import Forward

SSH_PORT = 22
NEW_FORWARD = f"127.0.0.1:0:{SSH_PORT}"
_HERE = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}


async def ssh_forward(session: Monitor, netdev: str | None) -> Forward | None:
    """Return a forward to the guest's ssh port that is there, None if there is none."""
    found = (one for one in await list_forwards(session) if netdev in (None, one.netdev))
    return next((one for one in found if (one.protocol, one.guest_port) == ("tcp", SSH_PORT)), None)


@asynccontextmanager
async def forwarded_ssh(session: Monitor, netdev: str | None, *, keep: bool) -> AsyncIterator[Forward]:
    """Yield the forward to the guest's ssh port: one that is there, else a new one, which goes unless `keep`."""
    there = await ssh_forward(session, netdev)
    if there is not None:
        yield there
        return
    (made,) = await add_forwards(session, NEW_FORWARD, netdev=netdev)
    try:
        yield made
    finally:
        if not keep:
            await to_the_end(_remove(session, made))


async def _remove(session: Monitor, made: Forward) -> None:
    try:
        await remove_forwards(session, f"{made.host_address}:{made.host_port}", netdev=made.netdev)
    except Interrupted:
        pass  # The VM has ended, and its forward with it.
    except QmonError:
        if session.lost_reason is None:
            raise


def ssh_words(forward: Forward, vm: str, *, user: str | None, words: Sequence[str]) -> list[str]:
    """Return ssh's command line; the key belongs to the VM's name, whatever port it is reached by."""
    host = _HERE.get(forward.host_address, forward.host_address).strip("[]")
    return [
        "ssh",
        *("-p", str(forward.host_port)),
        *("-o", f"HostKeyAlias=qmon-{vm}"),
        *("-o", f'UserKnownHostsFile="{known_hosts()}"'),
        *(("-l", user) if user else ()),
        host,
        *words,
    ]


def known_hosts() -> Path:
    """Return the file in which ssh keeps the keys of VMs, apart from those of hosts; its directory is there."""
    state = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    directory = Path(state) / "qmon"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory / "known_hosts"
