"""Small captures that ask for much: made for tests, each with how many packets can be read from it at least."""

import struct

from tests.packets.files.test_pcapng import block, interface, option, packet, section

MIB = 1 << 20


def comments_of_a_section() -> bytes:
    return block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + option(1, b"x") * (2 * MIB))


def comments_of_a_packet() -> bytes:
    return section() + interface() + packet(b"x" * 60, options=option(1, b"x") * (2 * MIB))


def commented_packets() -> bytes:
    return section() + interface() + packet(b"x" * 60, options=option(1, b"x") * 4) * 60_000


def names() -> bytes:
    records = b"".join(option(1, number.to_bytes(4, "big") + b"n\0") for number in range(20_000))
    return section() + interface() + block(4, records) * 10


def long_names_of_interfaces() -> bytes:
    described = b"".join(interface(options=option(2, b"%05d" % n + b"n" * 60_000)) for n in range(500))
    return section() + described + packet(b"x" * 60)


def many_interfaces() -> bytes:
    described = b"".join(interface(options=option(2, b"u%d" % n)) for n in range(30_000))
    return section() + described + packet(b"x" * 60, which=29_999)


def statistics() -> bytes:
    return section() + interface() + block(5, struct.pack("<III", 0, 0, 0)) * 100_000


def journal() -> bytes:
    return section() + interface() + block(9, b"__REALTIME_TIMESTAMP=1\nMESSAGE=x\n\n") * 100_000


def sections() -> bytes:
    return (section() + interface() + packet(b"x" * 4)) * 10_000


def sections_of_both_orders() -> bytes:
    one, two = (section(order) + interface(order) + packet(b"x" * 4, order=order) for order in "<>")
    return (one + two) * 10_000


def bad_packets() -> bytes:
    return section() + interface() + packet(b"x" * 4, which=7) * 200_000


def a_huge_frame() -> bytes:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 30, 249)
    return head + struct.pack("<IIII", 1, 0, 120 * MIB, 120 * MIB) + bytes(120 * MIB)


def a_huge_block() -> bytes:
    return section() + interface() + block(0x0BAD, bytes(120 * MIB))


ALL = {
    make.__name__: make
    for make in (
        comments_of_a_section,
        comments_of_a_packet,
        commented_packets,
        names,
        long_names_of_interfaces,
        many_interfaces,
        statistics,
        journal,
        sections,
        sections_of_both_orders,
        bad_packets,
        a_huge_frame,
        a_huge_block,
    )
}
