from collections.abc import Iterator

import pytest

from qmon.capture import vm as vm_module
from qmon.capture.taps import filters as filters_module
from tests.fakes.filters import FakeNetwork
from tests.fakes.guardian import FakeGuardian
from tests.fakes.monitor import FakeMonitor


@pytest.fixture
def fake_guardian(monkeypatch: pytest.MonkeyPatch) -> FakeGuardian:
    """A guardian without a process, for captures of this test."""
    made = FakeGuardian()
    for module in (vm_module, filters_module):
        monkeypatch.setattr(module, "guardian", lambda: made)
    return made


@pytest.fixture
def fake_network(fake_monitor: FakeMonitor, fake_guardian: FakeGuardian) -> Iterator[FakeNetwork]:
    """A fake VM with the netdev u1, whose filters can be added and write."""
    made = FakeNetwork(fake_monitor, ["u1"])
    yield made
    made.close()
