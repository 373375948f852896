"""What is left when the dashboard fails by a mistake of its own: a short message, the details in a file, the packets.

Must never fail itself: what cannot be written is left out.
"""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from pathlib import Path

from qmon.errors import QmonError
from qmon.export.saving import save
from qmon.packets.store.packet_store import PacketStore


class DashboardFailed(QmonError):
    """A mistake in qmon ended the dashboard."""


def failure(error: BaseException) -> DashboardFailed:
    """Return what the user is told; the traceback goes to a file that the hint names."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    what = traceback.format_exception_only(error)[-1].strip()
    details = _written("".join(traceback.format_exception(error)))
    hint = "This is a bug in qmon; please report it" + (f" with {details}" if details else "")
    return DashboardFailed(f"the dashboard failed: {what}{where}", hint=hint)


def _written(report: str) -> str:
    try:
        descriptor, path = tempfile.mkstemp(prefix="qmon-failure-", suffix=".txt", text=True)
        with os.fdopen(descriptor, "w", errors="backslashreplace") as file:
            file.write(report)
    except OSError:
        return ""
    return path


async def rescue(store: PacketStore) -> str:
    """Save what was captured, here or else among the temporary files; return what to say about it."""
    if not store.packets:
        return ""
    name = f"qmon-rescued-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.pcapng"
    for folder in (".", tempfile.gettempdir()):
        try:
            path, count = await save(store, str(Path(folder) / name))
        except (QmonError, OSError):
            continue
        return f"The {count:,} packets that were captured are in {path}"
    return "The packets that were captured could not be saved"
