"""`qmon nic flap`: a cable pulled and put back, again and again."""

from __future__ import annotations

import asyncio

import click

from qmon.cli import output as out
from qmon.cli.changing import Manner, change_options
from qmon.cli.context import Context
from qmon.network.change import plan_set_link
from qmon.network.flap import flap as flap_link

_SECONDS = click.FloatRange(min=0, min_open=True)


@click.command(
    epilog="However it ends, the link is up then; only a qmon that is killed (kill -9) leaves it as it stands: "
    "`qmon nic up ID`.\n\n\b\nExamples:\n"
    "  qmon nic flap nic1 --every 10              # until Ctrl-C\n"
    "  qmon nic flap nic1 --every 2 --for 60"
)
@click.argument("id_", metavar="ID")
@click.option(
    "--every", "every_s", type=_SECONDS, required=True, metavar="S", help="Seconds from turn to turn."
)
@click.option("--for", "for_s", type=_SECONDS, metavar="S", help="End after so many seconds.")
@change_options
@click.pass_obj
def flap(context: Context, id_: str, every_s: float, for_s: float | None, manner: Manner) -> None:
    """Pull a NIC's cable every S seconds, for half of them, until Ctrl-C or --for."""
    out.run(_flap(context, id_, every_s, for_s, manner))


async def _flap(context: Context, id_: str, every_s: float, for_s: float | None, manner: Manner) -> None:
    pulled = 0

    def turned(up: bool) -> None:
        nonlocal pulled
        pulled += not up
        if manner.output != "json":
            out.talk(f"the link of {id_} is {'up' if up else 'down'}")

    async with context.attach() as session:
        if manner.dry_run:
            manner.show([step for up in (False, True) for step in await plan_set_link(session, id_, up)])
            return
        try:
            await flap_link(session, id_, every_s=every_s, for_s=for_s, on_turn=turned)
        except asyncio.CancelledError:
            if session.lost_reason is not None:
                raise
    manner.tell(f"the link of {id_} is up, after {pulled} turns", {"nic": id_, "pulled": pulled})
