"""`qmon` without a command: the dashboard.

Owns the command's words; the screens live in `qmon.tui`.
"""

from __future__ import annotations

from qmon.cli import output, streams
from qmon.cli.context import Context
from qmon.errors import UsageError


def dashboard(context: Context, *, netdevs: tuple[str, ...], capture: bool, limit_bytes: int | None) -> None:
    """Open the dashboard on the VM that was named, the only one here, or one chosen from a list."""
    if netdevs and not capture:
        raise UsageError("--netdev says what to tap and --no-capture says to tap nothing: give one of them")
    target = context.target()
    streams.require_terminal("the dashboard", "`qmon --help` lists the commands that do not need one.")
    from qmon.capture.vm import LIMIT_BYTES, CaptureOptions
    from qmon.tui.run import run_dashboard

    options = CaptureOptions(limit_bytes=limit_bytes or LIMIT_BYTES)
    output.run(
        run_dashboard(
            target, netdevs=netdevs or None, capture=capture, confirm=context.confirm, options=options
        )
    )
