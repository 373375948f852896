"""A NIC's cable pulled and put back, again and again.

Must never end with the cable out while the monitor can be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from qmon.network.change import plan_set_link
from qmon.network.steps import to_the_end

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor


async def flap(
    session: Monitor, nic: str, *, every_s: float, for_s: float | None, on_turn: Callable[[bool], None]
) -> None:
    """Pull a NIC's cable every `every_s` seconds for half of that time, until `for_s` have passed or for ever.

    `on_turn` is called after each turn, with whether the link is up. However it ends, the link is up then.
    """
    (pull,), (put_back,) = (
        await plan_set_link(session, nic, False),
        await plan_set_link(session, nic, True),
    )
    try:
        async with asyncio.timeout(for_s):
            while True:
                for step, up in ((pull, False), (put_back, True)):
                    await step.send(session)
                    on_turn(up)
                    await asyncio.sleep(every_s / 2)
    except TimeoutError:
        pass
    finally:
        await to_the_end(put_back.send(session))
