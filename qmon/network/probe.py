"""Whether a netdev exists and can have filters, asked without leaving anything in the VM.

Owns the one question that is safe: a mirror whose output does not exist. QEMU checks the netdev first and then always
refuses, whereas a `filter-dump` that is refused closes QEMU's descriptor 0 (net/dump.c, up to 11.1).
"""

from __future__ import annotations

from qmon.errors import Refused
from qmon.monitor import commands
from qmon.monitor.protocol import Monitor
from qmon.network.ids import Purpose, new_id


async def why_unfilterable(session: Monitor, netdev: str) -> Refused | None:
    """Return QEMU's own refusal where a netdev cannot have filters or does not exist; None where it can."""
    probe, nowhere = new_id(Purpose.PROBE), new_id(Purpose.MIRROR)
    try:
        await commands.add_mirror(session, probe, netdev=netdev, outdev=nowhere)
    except Refused as problem:
        # The netdev has passed all checks where it fails on the output only.
        return None if problem.qmp_class == "DeviceNotFound" or nowhere in problem.reason else problem
    # Somebody has a chardev of that name after all; the mirror must go at once.
    await commands.object_del(session, probe)
    return None
