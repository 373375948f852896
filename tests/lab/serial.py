"""The serial console of a VM: what came out of it, and a shell on it where the guest is the lab's Linux."""

import asyncio
import itertools
import re
import shlex
from contextlib import suppress

from tests.lab.cache import LabError


class Serial:
    """A connection to a serial port's socket; everything read is kept in `output`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.output = bytearray()
        self._arrived = asyncio.Condition()
        self._ended = False
        self._numbers = itertools.count(1)
        self._shell = asyncio.Lock()
        self._task = asyncio.create_task(self._read(), name="lab serial")

    @classmethod
    async def connect(cls, path: str) -> "Serial":
        """Connect to the socket at `path`; OSError if nobody listens there."""
        return cls(*await asyncio.open_unix_connection(path))

    async def _read(self) -> None:
        with suppress(OSError):
            while chunk := await self._reader.read(65536):
                async with self._arrived:
                    self.output += chunk
                    self._arrived.notify_all()
        async with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    @property
    def text(self) -> str:
        """The output so far as text with plain line ends."""
        return self.output.decode(errors="replace").replace("\r", "")

    async def wait_for(
        self, pattern: str, *, timeout_s: float, flags: re.RegexFlag = re.MULTILINE
    ) -> re.Match[str]:
        """Wait until the output so far holds `pattern`; LabError when the deadline passes or the VM ends."""
        compiled = re.compile(pattern, flags)
        try:
            async with asyncio.timeout(timeout_s), self._arrived:
                await self._arrived.wait_for(lambda: compiled.search(self.text) or self._ended)
        except TimeoutError as error:
            raise LabError(
                f"{pattern!r} did not appear on the serial console within {timeout_s:.0f} s"
            ) from error
        match = compiled.search(self.text)
        if match is None:
            raise LabError(f"the VM ended before {pattern!r} appeared on its serial console")
        return match

    async def shell(self, command: str, *, timeout_s: float) -> str:
        """Run `command` by the shell on the console; its output without the guest's own announcements."""
        async with self._shell:
            await self.wait_for(r"^## ready\n", timeout_s=60)
            mark = f"qmon-lab-{next(self._numbers)}"
            # The mark is written in two halves, so that only its output can match.
            run = f"sh -c {shlex.quote(command)} </dev/null; status=$?"
            line = f"echo; echo '{mark}''>'; {run}; echo; echo '{mark}''<'$status\n"
            self._writer.write(line.encode())
            await self._writer.drain()
            found = await self.wait_for(
                rf"^{mark}>\n(.*?)\n{mark}<(\d+)\n", timeout_s=timeout_s, flags=re.MULTILINE | re.DOTALL
            )
        output = "".join(part for part in found[1].splitlines(keepends=True) if not part.startswith("## "))
        if found[2] != "0":
            raise LabError(f"{command!r} in the guest ended with {found[2]}: {output.strip()}")
        return output

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
