"""What a shell may complete besides commands and options: VMs, their netdevs, files.

Must never touch a monitor: a Tab only looks at /proc.
"""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def complete_vm(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the names of VMs that run here, or the path of a socket."""
    from qmon.monitor.discovery import list_vms

    named = [vm for vm in list_vms() if vm.name and vm.name.startswith(incomplete)]
    found = [CompletionItem(vm.name, help=f"pid {vm.pid}, {vm.state}") for vm in named]
    return found or _files(incomplete)


def complete_netdev(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the ids of netdevs that the VMs (those that --vm names) were started with."""
    from qmon.monitor.discovery import list_vms

    wanted = ctx.find_root().params.get("vms") or ()
    vms = [vm for vm in list_vms() if not wanted or vm.name in wanted or f"pid:{vm.pid}" in wanted]
    ids = {str(network["id"]) for vm in vms for network in vm.networks if "id" in network}
    return [CompletionItem(one) for one in sorted(ids) if one.startswith(incomplete)]


def complete_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a file's name; of several words only the first."""
    return (
        []
        if param.name is not None and param.nargs == -1 and ctx.params.get(param.name)
        else _files(incomplete)
    )


def _files(incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]
