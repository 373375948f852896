"""A qmon of its own process for the sharing tests: reads one JSON request a line, writes one JSON object a line.

Requests are `[method, …]`; answers `{"result": …}` or `{"error": TYPE, "message": …}`; events and hand-overs come
between them as `{"event": NAME}` and `{"handover": holder pid or null}`.
"""

import asyncio
import json
import os
import sys
from typing import Any

from qmon.errors import QmonError
from qmon.monitor import commands
from qmon.monitor.address import parse_target
from qmon.monitor.session import Session


def say(**content: Any) -> None:
    print(json.dumps(content), flush=True)


async def do(session: Session, method: str, arguments: list[Any]) -> Any:
    if method == "execute":
        return await session.execute(*arguments)
    if method == "execute_within":
        return await session.execute(arguments[0], timeout_s=arguments[1])
    if method == "pass_descriptor":
        fd = os.memfd_create("worker")
        try:
            added = await commands.add_fd(session, fd, opaque=arguments[0])
        finally:
            os.close(fd)
        return [added.fdset_id, added.fd]
    if method == "state":
        return {"shared": session.shared, "holder": session.holder_pid, "vm": session.peer_pid}
    if method == "wait_lost":
        return await session.wait_lost()
    raise ValueError(method)


async def tell_events(session: Session) -> None:
    async for event in session.events():
        say(event=event.name)


async def serve(session: Session) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        method, *arguments = json.loads(line)
        if method == "close":
            return
        try:
            say(result=await do(session, method, arguments))
        except QmonError as problem:
            say(error=type(problem).__name__, message=str(problem))


async def main() -> None:
    try:
        session = await Session.attach(parse_target(sys.argv[1]))  # type: ignore[arg-type]
    except QmonError as problem:
        say(error=type(problem).__name__, message=str(problem))
        return
    async with session:
        session.on_handover(lambda: say(handover=session.holder_pid))
        say(result="attached")
        events = asyncio.create_task(tell_events(session), name="events")
        await serve(session)
    await events
    say(result="closed")


if __name__ == "__main__":
    asyncio.run(main())
