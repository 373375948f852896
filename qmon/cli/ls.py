"""`qmon ls`: the VMs running here."""

from __future__ import annotations

import click

from qmon.cli import output as out
from qmon.monitor.discovery import MonitorSocket, Vm, list_vms


@click.command(
    epilog="States: free; busy (another client holds the monitor); shared (a qmon holds it and relays for others); "
    "waiting (the VM starts when the first client connects); none (no QMP monitor qmon could use).\n\n\b\n"
    "Examples:\n"
    "  qmon ls\n"
    "  qmon ls -o json | jq -r '.vms[] | select(.state == \"free\") | .monitor'"
)
@out.output_option
def ls(output: str) -> None:
    """List the VMs running here, and how each can be reached.

    Looks at /proc only: no monitor is touched.
    """
    vms = list_vms()
    if output == "json":
        _print_json(vms)
    else:
        _print_table(vms)


def _print_json(vms: list[Vm]) -> None:
    out.document({"vms": [_record(vm) for vm in vms]})


def _record(vm: Vm) -> dict[str, object]:
    return {
        "pid": vm.pid,
        "name": vm.name,
        "machine": vm.machine,
        "binary": vm.binary,
        "monitor": str(vm.monitor.address) if vm.monitor else None,
        "monitors": [_monitor(monitor) for monitor in vm.monitors],
        "state": vm.state,
        "reason": vm.reason,
        "hint": vm.hint,
    }


def _monitor(monitor: MonitorSocket) -> dict[str, object]:
    return {
        "address": None if monitor.address is None else str(monitor.address),
        "protocol": monitor.protocol,
        "state": monitor.state,
        "holder_pid": monitor.holder_pid,
        "holder_command": monitor.holder_command,
        "reason": monitor.reason,
    }


def _print_table(vms: list[Vm]) -> None:
    if not vms:
        out.talk("No VM is running here. `qmon demo` starts a tiny one.")
        return
    rows = [(vm.pid, vm.name, vm.machine, vm.state, vm.monitor.address if vm.monitor else None) for vm in vms]
    out.table(("PID", "NAME", "MACHINE", "STATE", "MONITOR"), rows)
    for vm in vms:
        if vm.reason:
            out.talk(f"pid {vm.pid}: {vm.reason}\n  {vm.hint}")
