"""Finding netdevs and NICs by their ids."""

from qmon.network.model import Netdev, Network, Nic


def test_a_live_netdev_comes_before_its_ghost() -> None:
    ghost = Netdev("u1", "user", "an old one", nic="nic1", ghost=True)
    live = Netdev("u1", "user", "the new one", nic="nic2")
    for order in ((ghost, live), (live, ghost)):
        assert Network(netdevs=order).netdev("u1") is live
    assert Network(netdevs=(ghost,)).netdev("u1") is ghost
    assert Network(netdevs=(ghost,)).netdev("u2") is None


def test_of_several_nics_of_one_name_the_first() -> None:
    first, second = Nic("nic1", "e1000", None), Nic("nic1", "rtl8139", None)
    network = Network(nics=(first, second))
    assert network.nic("nic1") is first
    assert network.nic("nic2") is None
    assert network == Network(nics=(first, second)) != Network(nics=(second, first))


def test_what_is_below_a_nic() -> None:
    one, two, free = Netdev("u1", "user", nic="n"), Netdev("u1", "user", nic="n"), Netdev("u2", "user")
    network = Network((one, free, two))
    assert network.below("n") == (one, two)
    assert network.below("none") == ()
