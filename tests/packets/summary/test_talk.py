"""What only the conversation tells: packets of one source worded in order, as lines and records have them."""

from __future__ import annotations

import struct
import uuid

from qmon.packets.batch import FrameBatch, Interface
from qmon.packets.summary.batches import Summariser
from tests.packets.summary.test_statements import SERVER_HELLO, ip, message, record

CLIENT, SERVER = 40000, 443


def segment(payload: bytes, ports: tuple[int, int], sequence: int = 1) -> bytes:
    whole = ip(6, struct.pack(">HHIIBBHHH", *ports, sequence, 1, 0x50, 0x18, 8192, 0, 0) + payload)
    if ports[0] < CLIENT or ports[0] == 49157:  # The server answers.
        return whole[:26] + whole[30:34] + whole[26:30] + whole[34:]
    return whole


def named(frames: list[bytes], size: int = 100) -> list[str]:
    summariser = Summariser(lambda source, destination, ports: f"{source}{destination}{ports}")
    protocols = []
    for low in range(0, len(frames), size):
        batch = FrameBatch.from_frames(frames[low : low + size])
        protocols += summariser.of(batch, [Interface()]).protocol
    return protocols


def test_a_server_hello_names_the_version_of_all_that_follows() -> None:
    out, back = (CLIENT, SERVER), (SERVER, CLIENT)
    data = record(23, bytes(40))
    frames = [
        segment(data, out),
        segment(record(22, SERVER_HELLO), back),
        segment(data, out),
        segment(data, back),
        segment(data, (CLIENT + 1, SERVER)),
        segment(record(22, message(14, b"")), back),
    ]
    expected = ["TLSv1.2", "TLSv1.3", "TLSv1.3", "TLSv1.3", "TLSv1.2", "TLSv1.3"]
    assert named(frames) == named(frames, 1) == expected


def test_an_opening_names_all_that_follows() -> None:
    back = (5900, CLIENT)
    frames = [
        segment(b"\1\2", back),
        segment(b"RFB 003.008\n", back),
        segment(b"\1\2", back),
        segment(b"", back),
        segment(b"\1", (CLIENT, 5900)),
        segment(b"\1", (CLIENT + 1, 5900)),
    ]
    expected = ["TCP", "VNC", "VNC", "TCP", "VNC", "TCP"]
    assert named(frames) == named(frames, 1) == expected


def test_ssh_is_of_version_2_once_both_have_said_so() -> None:
    out, back = (CLIENT, 22), (22, CLIENT)
    noise = bytes(range(130, 182))
    frames = [
        segment(noise, (CLIENT + 1, 22)),
        segment(b"SSH-2.0-OpenSSH_9.2\r\n", out),
        segment(b"SSH-2.0-OpenSSH_9.2\r\n", back),
        segment(noise, out),
    ]
    assert named(frames) == ["SSH", "SSH", "SSHv2", "SSHv2"]


def call(kind: int, body: bytes, *, flags: int = 3) -> bytes:
    return struct.pack("<BBBBIHHI", 5, 0, kind, flags, 0x10, 16 + len(body), 0, 1) + body


def test_a_bind_names_the_calls_of_its_context() -> None:
    netlogon = uuid.UUID("12345678-1234-abcd-ef00-01234567cffb").bytes_le + struct.pack("<I", 1)
    unknown = uuid.uuid4().bytes_le + bytes(4)
    contexts = b"".join(
        struct.pack("<HBB", number, 1, 0) + interface + bytes(20)
        for number, interface in ((0, unknown), (1, netlogon))
    )
    out, back = (CLIENT, 49157), (49157, CLIENT)
    frames = [
        segment(call(11, bytes(8) + b"\2\0\0\0" + contexts), out),
        segment(call(0, struct.pack("<IHH", 0, 1, 4)), out),
        segment(call(2, struct.pack("<IHH", 0, 1, 0)), back),
        segment(call(0, struct.pack("<IHH", 0, 0, 4)), out),
        segment(call(0, struct.pack("<IHH", 0, 1, 4), flags=1), out),
        segment(call(0, struct.pack("<IHH", 0, 1, 4)), (CLIENT + 1, 49157)),
    ]
    expected = ["DCERPC", "RPC_NETLOGON", "RPC_NETLOGON", "DCERPC", "DCERPC", "DCERPC"]
    assert named(frames) == named(frames, 1) == expected


def test_a_bind_that_claims_more_contexts_than_it_has() -> None:
    bind = segment(call(11, bytes(8) + b"\xff\0\0\0" + b"\0\0\xff\0" + bytes(20)), (CLIENT, 135))
    assert named([bind, bind]) == ["DCERPC", "DCERPC"]
