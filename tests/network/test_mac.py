"""Addresses of new NICs: free ones, and those that cannot be."""

import pytest

from qmon.errors import Refused, UsageError
from qmon.network.mac import check_mac, free_mac
from qmon.network.model import Network, Nic

NETWORK = Network(nics=(Nic("nic1", "e1000", "52:54:00:12:34:56"), Nic("odd", "e1000", None)))


def test_a_free_address_is_the_same_for_the_same_nic_and_another_for_another() -> None:
    one = free_mac("vm1 nic2", NETWORK)
    assert one == free_mac("vm1 nic2", NETWORK)
    assert one != free_mac("vm2 nic2", NETWORK)
    assert one.startswith("52:54:00:")
    taken = Network(nics=(Nic("nic2", "e1000", one.upper()),))
    assert free_mac("vm1 nic2", taken) != one


@pytest.mark.parametrize("given", ["52:54:00:12:34:56", "52-54-00-12-34-56"])
def test_an_address_is_given_once(given: str) -> None:
    with pytest.raises(Refused, match="is the address of nic1 already"):
        check_mac(given, NETWORK)


def test_a_group_is_no_nic() -> None:
    with pytest.raises(UsageError, match="multicast") as refused:
        check_mac("01:00:5e:00:00:01", NETWORK)
    assert "00:00:5e:00:00:01" in str(refused.value.hint)


@pytest.mark.parametrize("given", ["52:54:00:aa:bb:cc", "no", ""])
def test_what_is_not_ours_to_judge(given: str) -> None:
    check_mac(given, NETWORK)
