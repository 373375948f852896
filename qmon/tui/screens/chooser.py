"""Which VM? A list that keeps itself up to date, or how to get one to look at.

Owns the choice. Must never touch a monitor: discovery looks at /proc only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from qmon import text
from qmon.monitor.address import Address
from qmon.monitor.discovery import Vm, listed
from qmon.tui.panes.header import HeaderLine, Part
from qmon.tui.panes.key_bar import KeyBar
from qmon.tui.rows import RowView
from qmon.tui.table import Cell, Column, TableView

LOOK_EVERY_S = 1.0
USABLE = ("free", "shared", "waiting")
_COLUMNS = (
    Column("Pid", 8, right=True),
    Column("Name", 14, share=1),
    Column("Machine", 12, need=70),
    Column("State", 8),
    Column("Monitor, or why there is none", 24, share=3),
)
_NO_VM = (
    "No VM is running here",
    "",
    "qmon demo                  a tiny VM with real traffic",
    "qmon run -- qemu-system-…  your VM, watched from its first packet",
    "",
    "Or give the VM a monitor that qmon can attach to:",
    "  -qmp unix:/tmp/vm.sock,server=on,wait=off",
    "",
    "A VM that starts now appears here by itself.",
)


class VmTable(TableView):
    """One line a VM."""

    NOTHING_IS_A_BLOCK = True
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "choose", "Attach")]

    def __init__(self) -> None:
        super().__init__(_COLUMNS, id="vms")
        self.vms: tuple[Vm, ...] = ()

    def show(self, vms: Sequence[Vm]) -> None:
        """Draw these VMs, if they are others than before."""
        if tuple(vms) == self.vms:
            return
        self.vms = tuple(vms)
        if self.cursor is None and self.vms:
            self.cursor = next((i for i, vm in enumerate(self.vms) if vm.state in USABLE), 0)
        self.clear_strips()
        self.settle()

    @property
    def end_row(self) -> int:
        """How many VMs there are."""
        return len(self.vms)

    def cells(self, number: int) -> Sequence[Cell]:
        """Say what is known of one VM."""
        vm, palette = self.vms[number], self.palette
        usable = vm.state in USABLE
        where = (
            str(vm.monitor.address)
            if usable and vm.monitor
            else " · ".join(filter(None, [vm.reason, vm.hint]))
        )
        style: Style = palette.text if usable else palette.dim
        return (
            (str(vm.pid), palette.dim),
            (text.plain(vm.name or "-"), palette.strong if usable else palette.dim),
            (text.plain(vm.machine or "-"), palette.dim),
            (vm.state, palette.good if usable else palette.warn),
            (text.plain(where), style),
        )

    def heading(self, width: int) -> Sequence[Segment]:
        """Draw the titles, if there is something below them."""
        return super().heading(width) if self.vms else ()

    def nothing(self) -> Sequence[str]:
        """Say how to get a VM."""
        return _NO_VM


class ChooserScreen(Screen[None]):
    """Leaves the chosen VM in `chosen`, or None where the user quit."""

    DEFAULT_CSS = """
    ChooserScreen { overflow: hidden; VmTable { margin: 1 2; } }
    """

    def __init__(self, problem: str = "") -> None:
        super().__init__()
        self.chosen: Address | None = None
        self._problem = problem
        self._only_new: frozenset[int] | None = None
        self._header = HeaderLine()
        self._table = VmTable()

    def compose(self) -> ComposeResult:
        """Make the list."""
        yield self._header
        yield self._table
        yield KeyBar()

    def on_mount(self) -> None:
        """Start looking."""
        self.set_focus(self._table)
        self._look()
        if self._problem:
            self.notify(text.plain_lines(self._problem), severity="error", timeout=15, markup=False)

    @work(group="look")
    async def _look(self) -> None:
        while True:
            vms = await listed()
            self._table.show(vms)
            count = len(vms)
            left: list[Part] = [
                ("strong", "no VM" if not count else f"{count} VM{'s' if count > 1 else ''} here")
            ]
            self._header.show(left)
            self._take_the_first_that_comes(vms)
            await asyncio.sleep(LOOK_EVERY_S)

    def _take_the_first_that_comes(self, vms: Sequence[Vm]) -> None:
        # Whoever waits at an empty list waits for that VM; a list with VMs in it is for choosing.
        if self._only_new is None:
            self._only_new = frozenset(vm.pid for vm in vms)
        if not self._only_new and len(vms) == 1 and vms[0].state in USABLE and not self._problem:
            self._take(vms[0])

    @on(RowView.Chosen)
    def _row_chosen(self, event: RowView.Chosen) -> None:
        vm = self._table.vms[event.row]
        if vm.state in USABLE:
            self._take(vm)
        else:
            why = "\n".join(filter(None, [vm.reason, vm.hint])) or vm.state
            self.notify(text.plain_lines(why), title="Cannot attach", severity="warning", markup=False)

    def _take(self, vm: Vm) -> None:
        assert vm.monitor is not None
        self.chosen = vm.monitor.address
        self.app.exit()
