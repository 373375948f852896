"""The installed qmon, run as users run it."""

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Done:
    """How a run of qmon ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The document on stdout; its schema version is checked and left out."""
        document: dict[str, Any] = json.loads(self.out)
        assert document.pop("schema_version") == 1
        return document


async def qmon(*words: str, vm: str | None = None) -> Done:
    """Run qmon and wait for its end; it never shows a traceback."""
    prefix = ("--vm", vm) if vm else ()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "qmon", *prefix, *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    done = Done(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in done.err, done.err
    return done
