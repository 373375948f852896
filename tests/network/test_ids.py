import os

import pytest

from qmon.monitor.processes import start_ticks
from qmon.network.ids import Life, Owner, owner_of


def test_a_filter_tells_who_made_it() -> None:
    owner = Owner.this_process()
    assert owner_of(owner.name(3, "rx")) == owner
    assert owner.life() is Life.OURS


@pytest.mark.parametrize("name", ["", "qmon-", "qmon-x-1-2-3-4rx", "mydump", "qmon-0123456789ab-1-2-3-4rx\n"])
def test_other_filters_are_nobodys(name: str) -> None:
    assert owner_of(name) is None


def test_an_id_is_one_that_qemu_takes() -> None:
    name = Owner.this_process().name(0, "probe")
    assert name[0].isalpha()
    assert name.replace("-", "").isalnum()


def test_lives_are_told_apart() -> None:
    ours = Owner.this_process()
    parent = os.getppid()
    alive = Owner(ours.boot, ours.pid_namespace, parent, start_ticks(parent) or 0)
    assert alive.life() is Life.ALIVE
    assert Owner(ours.boot, ours.pid_namespace, parent, 1).life() is Life.GONE
    assert Owner(ours.boot, ours.pid_namespace, 2**22 + 1, 1).life() is Life.GONE
    assert Owner("0" * 12, ours.pid_namespace, parent, 1).life() is Life.FOREIGN
    assert Owner(ours.boot, 7, parent, 1).life() is Life.FOREIGN
