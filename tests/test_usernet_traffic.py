"""What a user-mode stack says of its connections, beside what was captured of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from qmon.monitor.hmp import Endpoint, UsernetConnection, UsernetStack
from qmon.packets.batch import FrameBatch, Interface
from qmon.packets.store.packet_store import PacketStore
from qmon.usernet_traffic import UsernetRow, usernet_rows

GUEST, WEB = ("10.0.2.15", 40_000), ("192.0.2.1", 80)


def tcp(source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    ends = b"".join(bytes(map(int, address.split("."))) for address, _ in (source, destination))
    ip = bytes.fromhex("4500002800000000400600 00".replace(" ", "")) + ends
    return (
        bytes(12)
        + b"\x08\x00"
        + ip
        + struct.pack(">HHIIBBHHH", source[1], destination[1], 0, 0, 0x50, 2, 0, 0, 0)
    )


def row(state: str, source: tuple[str, int], destination: tuple[str, int]) -> UsernetConnection:
    return UsernetConnection("TCP", state, None, 9, Endpoint(*source), Endpoint(*destination), 0, 0)


@pytest.fixture
def store() -> Iterator[PacketStore]:
    kept = PacketStore()
    for name in ("u1", "u2"):
        kept.add_interface(Interface(name))
    yield kept
    kept.close()


def joined(store: PacketStore, *stacks: UsernetStack) -> tuple[UsernetRow, ...]:
    return usernet_rows(stacks, store.conversations(), store.interfaces)


def stack(netdev: str, *connections: UsernetConnection) -> UsernetStack:
    return UsernetStack(netdev, None, connections)


def test_each_netdev_has_its_own_packets(store: PacketStore) -> None:
    one = tcp(GUEST, WEB)
    store.append(FrameBatch.from_frames([one] * 5, interface=[0, 0, 0, 1, 1]))
    connection = row("ESTABLISHED", GUEST, WEB)
    found = joined(store, stack("u1", connection), stack("u2", connection), stack("u3", connection))
    assert [(one.netdev, one.packets, one.bytes) for one in found] == [
        ("u1", 3, 162),
        ("u2", 2, 108),
        ("u3", None, None),
    ]
    assert found[0].expression == "tcp and host 10.0.2.15 and port 40000 and host 192.0.2.1 and port 80"
    assert found[2].expression == ""


def test_a_connection_that_was_not_captured_has_no_numbers(store: PacketStore) -> None:
    store.append(FrameBatch.from_frames([tcp(("10.0.2.15", 41_111), WEB)] * 4))
    (found,) = joined(store, stack("u1", row("ESTABLISHED", GUEST, WEB)))
    assert (found.packets, found.bytes, found.expression) == (None, None, "")


def test_a_forward_has_all_that_went_to_the_guests_port(store: PacketStore) -> None:
    ssh = ("10.0.2.15", 22)
    store.append(FrameBatch.from_frames([tcp(("10.0.2.2", port), ssh) for port in (50_000, 50_001, 50_001)]))
    forward = row("HOST_FORWARD", ("127.0.0.1", 2222), ssh)
    through = row("ESTABLISHED", ("127.0.0.1", 55_555), ssh)
    found = joined(store, stack("u1", through, forward))
    assert [(one.connection, one.packets) for one in found] == [(forward, 3), (through, None)]
    assert {one.expression for one in found} == {"tcp and host 10.0.2.15 and port 22"}
