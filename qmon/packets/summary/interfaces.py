"""Interfaces of DCE/RPC by their UUIDs, as a Bind asks for them (C706 chapter 12; Microsoft's open specifications)."""

from __future__ import annotations

import uuid
from typing import Literal

from qmon.packets.summary.line import Line
from qmon.packets.summary.talk import Talk

_NAMES = {
    uuid.UUID(number): name
    for number, name in (
        ("e1af8308-5d1f-11c9-91a4-08002b14a0fa", "EPM"),
        ("afa8bd80-7d8a-11c9-bef4-08002b102989", "MGMT"),
        ("12345678-1234-abcd-ef00-01234567cffb", "RPC_NETLOGON"),
        ("12345778-1234-abcd-ef00-0123456789ab", "LSARPC"),
        ("12345778-1234-abcd-ef00-0123456789ac", "SAMR"),
        ("367abb81-9844-35f1-ad32-98f038001003", "SVCCTL"),
        ("4b324fc8-1670-01d3-1278-5a47bf6ee188", "SRVSVC"),
        ("6bffd098-a112-3610-9833-46c3f87e345a", "WKSSVC"),
        ("338cd001-2244-31f1-aaaa-900038001003", "WINREG"),
        ("e3514235-4b06-11d1-ab04-00c04fc2dcd2", "DRSUAPI"),
        ("12345678-1234-abcd-ef00-0123456789ab", "SPOOLSS"),
        ("000001a0-0000-0000-c000-000000000046", "ISystemActivator"),
        ("99fcfec4-5260-101b-bbcb-00aa0021347a", "IOXIDResolver"),
        ("00000131-0000-0000-c000-000000000046", "IRemUnknown"),
        ("00000143-0000-0000-c000-000000000046", "IRemUnknown2"),
        ("00020400-0000-0000-c000-000000000046", "IDispatch"),
        ("00020401-0000-0000-c000-000000000046", "ITypeInfo"),
        ("1ff70682-0a51-30e8-076d-740be8cee98b", "ATSVC"),
        ("86d35949-83c9-4044-b424-db363231fd0c", "TaskSchedulerService"),
        ("894de0c0-0d55-11d3-a322-00c04fa321a1", "INITSHUTDOWN"),
        ("82273fdc-e32a-18c3-3f78-827929dc23ea", "EVENTLOG"),
        ("3919286a-b10c-11d0-9ba8-00c04fd92ef5", "DSSETUP"),
        ("4fc742e0-4a10-11cf-8273-00aa004ae673", "NETDFS"),
    )
}
_MOST_CONTEXTS = 64


def bound(line: Line, at: int, talk: Talk, order: Literal["little", "big"]) -> None:
    """Learn the contexts a Bind or Alter_context lists, as far as they are there; the list begins at a place."""
    count, at = line.data[at], at + 4
    for _ in range(count):
        if at + 24 > len(line.data) or len(talk.contexts) >= _MOST_CONTEXTS:
            break
        number, transfers = int.from_bytes(line.data[at : at + 2], order), line.data[at + 2]
        raw = line.data[at + 4 : at + 20]
        name = _NAMES.get(uuid.UUID(bytes_le=raw) if order == "little" else uuid.UUID(bytes=raw))
        if name is not None:
            talk.contexts[number] = name
        else:
            talk.contexts.pop(number, None)
        at += 24 + 20 * transfers
