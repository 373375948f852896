"""Who talked to whom, how much, kept up while packets arrive."""

from __future__ import annotations

from dataclasses import dataclass

from qmon.packets.batch import I64, U8, U16


@dataclass(frozen=True, slots=True)
class Conversation:
    """One pair of endpoints; A is the one that spoke first. Times are UTC ns."""

    flow: int
    protocol: str
    address_a: str
    port_a: int
    address_b: str
    port_b: int
    packets_ab: int
    packets_ba: int
    bytes_ab: int
    bytes_ba: int
    first_ns: int
    last_ns: int

    @property
    def packets(self) -> int:
        """Both directions."""
        return self.packets_ab + self.packets_ba

    @property
    def bytes(self) -> int:
        """Both directions, as on the wire."""
        return self.bytes_ab + self.bytes_ba


@dataclass(frozen=True, slots=True)
class ConversationTable:
    """All conversations at one moment as columns of n rows; row number = flow id."""

    protocol: U8
    port_a: U16
    port_b: U16
    packets_ab: I64
    packets_ba: I64
    bytes_ab: I64
    bytes_ba: I64
    first_ns: I64
    last_ns: I64
    _addresses: U8

    def __len__(self) -> int:
        return len(self.protocol)

    def __getitem__(self, flow: int) -> Conversation:
        raise NotImplementedError

    def order_by(self, column: str, *, descending: bool = True) -> I64:
        """Return flow ids sorted by `packets`, `bytes`, `first_ns`, `last_ns`, `duration` or `protocol`."""
        raise NotImplementedError
