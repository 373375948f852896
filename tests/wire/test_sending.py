"""Frames that a user's expression gives, without a VM."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from qmon.errors import UsageError
from qmon.wire.layers import layers
from qmon.wire.sending import evaluate


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: Any, **__: Any) -> None:
        pytest.fail("a frame went to the host's network")

    monkeypatch.setattr(import_module("scapy.layers.l2"), "srp1", ask)


def names() -> dict[str, Any]:
    return vars(layers())


@pytest.mark.parametrize(
    ("expression", "begins"),
    [
        ("Ether(dst='02:00:00:00:00:01')/IP(dst='10.0.2.15')/UDP()", "020000000001"),
        ("Ether()/IP(dst='255.255.255.255')/UDP()", "ffffffffffff"),
        ("Ether()/IP(dst='224.0.0.251')/UDP()", "01005e0000fb"),
        ("Ether()/ARP(pdst='10.0.2.15')", "ffffffffffff"),
        ("bytes.fromhex('020000000002')", "020000000002"),
    ],
)
def test_a_frame(expression: str, begins: str) -> None:
    (frame,) = evaluate(expression, names())
    assert frame.hex().startswith(begins)


def test_several_frames() -> None:
    assert len(evaluate("[Ether(dst='02:00:00:00:00:01', type=[1, 2]), b'x']", names())) == 3


@pytest.mark.parametrize(
    "network", ["IP(dst='10.0.2.15')", "IPv6(dst='fe80::1')", "ARP(op=2, pdst='10.0.2.15')"]
)
def test_a_missing_address_is_told_not_asked_for(network: str) -> None:
    with pytest.raises(UsageError, match="needs dst="):
        evaluate(f"Ether()/{network}", names())
