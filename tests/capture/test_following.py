"""A VM followed without a QEMU: netdevs come and go, the monitor is lost and back, the VM ends and another comes."""

import asyncio
from collections.abc import Callable

import pytest

from qmon.capture import attaching, following
from qmon.capture.following import FollowedVm, MonitorState
from qmon.capture.tapping import NOTHING, Netdevs
from qmon.errors import Refused
from qmon.export.capture_file import FileOptions, open_now
from qmon.export.record import Source, Stop, Totals, record
from qmon.monitor.connection import Connection
from qmon.packets.batch import Direction, Note
from qmon.packets.files.source import CaptureFile
from tests.fakes.filters import FakeNetwork


class FakeProcess:
    """The VM's process, which has ended when a test says so."""

    ended = False

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @property
    def runs(self) -> bool:
        return not FakeProcess.ended

    async def ends_within(self, timeout_s: float) -> bool:
        await asyncio.sleep(0)
        return FakeProcess.ended


@pytest.fixture(autouse=True)
def fake_process(monkeypatch: pytest.MonkeyPatch) -> type[FakeProcess]:
    monkeypatch.setattr(attaching, "KnownProcess", FakeProcess)
    monkeypatch.setattr(FakeProcess, "ended", False)
    monkeypatch.setattr(following, "FAREWELL_S", 0)
    return FakeProcess


class Heard:
    """What a followed VM had to say."""

    def __init__(self, vm: FollowedVm) -> None:
        self.vm = vm
        self.notes: list[Note] = []
        self.frames: list[bytes] = []

    def poll(self) -> None:
        polled = self.vm.poll()
        self.notes += polled.notes
        self.frames += [bytes(batch.frame(row)) for batch in polled.batches for row in range(len(batch))]

    async def until(self, fact: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while True:
                self.poll()
                if fact():
                    return
                await self.vm.wait(0.05)

    async def told(self, text: str) -> None:
        await self.until(lambda: any(text in note.text for note in self.notes))


async def test_netdevs_join_and_leave_and_a_released_one_stays_out(fake_network: FakeNetwork) -> None:
    async with FollowedVm(fake_network.monitor.address) as vm:
        heard = Heard(vm)
        vm.begin(Netdevs())
        await vm.tapped_once()
        assert [tap.netdev for tap in vm.taps] == ["u1"]
        fake_network.add("u2")
        vm.refresh()
        await heard.told("u2 joined the capture before any NIC")
        assert [one.name for one in vm.interfaces] == ["u1", "u2"]
        await vm.untap("u2")
        fake_network.delete("u1")
        vm.refresh()
        await heard.told("the capture of u1 ended with the netdev")
        assert vm.taps == ()
        await vm.tap("u2")
        fake_network.write("u2", Direction.OUT, b"frame")
        await heard.until(lambda: heard.frames == [b"frame"])
    assert fake_network.filters == {}
    assert [tap.packets for tap in vm.totals] == [0, 0, 1]


async def test_only_what_is_wanted_is_tapped_and_what_cannot_be_is_told_once(
    fake_network: FakeNetwork,
) -> None:
    async with FollowedVm(fake_network.monitor.address) as vm:
        heard = Heard(vm)
        vm.begin(NOTHING)
        await vm.tapped_once()
        assert vm.taps == ()
        fake_network.monitor.refuse("object-add", "vhost is not supported")
        with pytest.raises(Refused):
            await vm.tap("u1")
        vm.begin(Netdevs(frozenset({"u1"})))
        version = vm.version
        assert [netdev for netdev, _ in vm.not_tapped] == ["u1"]
        fake_network.delete("u1")
        vm.refresh()
        await heard.until(lambda: vm.not_tapped == ())
        assert vm.version > version


async def test_the_monitor_is_lost_and_back_and_the_taps_stay(fake_network: FakeNetwork) -> None:
    async with FollowedVm(fake_network.monitor.address) as vm:
        heard = Heard(vm)
        vm.begin(Netdevs())
        await vm.tapped_once()
        for number in range(1, 4):
            filters = set(fake_network.filters)
            await fake_network.monitor.drop_client()
            fake_network.write("u1", Direction.OUT, b"%d" % number)
            await heard.until(
                lambda number=number: [n.text for n in heard.notes].count("the monitor is back") == number
            )
            assert set(fake_network.filters) == filters
        await heard.until(lambda: heard.frames == [b"1", b"2", b"3"])
        assert vm.monitor is MonitorState.CONNECTED
        assert vm.session is not None
    assert fake_network.filters == {}


async def test_a_fault_of_qmons_own_in_the_session_is_a_loss_that_heals(
    fake_network: FakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The capture must not go on without a monitor, and leave its filters behind."""
    fault: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def fails(*_: object) -> str:
        return await fault

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "wait_closed", fails)
        vm = FollowedVm(fake_network.monitor.address)
        await vm.__aenter__()
    try:
        heard = Heard(vm)
        vm.begin(Netdevs())
        await vm.tapped_once()
        fault.set_exception(RuntimeError("no such luck"))
        await heard.told("qmon failed: RuntimeError: no such luck")
        await heard.told("the monitor is back")
        await heard.until(lambda: vm.monitor is MonitorState.CONNECTED)
        assert [tap.netdev for tap in vm.taps] == ["u1"]
    finally:
        await vm.__aexit__(None, None, None)
    assert fake_network.filters == {}


async def test_the_end_of_the_vm_is_the_end_and_says_whether_it_was_in_order(
    fake_network: FakeNetwork, fake_process: type[FakeProcess]
) -> None:
    async with FollowedVm(fake_network.monitor.address) as vm:
        heard = Heard(vm)
        vm.begin(Netdevs())
        await vm.tapped_once()
        fake_network.write("u1", Direction.OUT, b"last")
        fake_process.ended = True
        await fake_network.monitor.hang_up()
        await heard.until(lambda: vm.end is not None)
        assert vm.end is not None
        assert vm.end.reason == "QEMU was killed or crashed"
        assert vm.end.error is not None
        assert vm.monitor is MonitorState.ENDED
    assert heard.frames == [b"last"]


async def test_a_recording_ends_with_its_count_and_its_file_is_whole(
    fake_network: FakeNetwork, runtime_directory: object
) -> None:
    path = f"{runtime_directory}/a.pcapng"
    async with FollowedVm(fake_network.monitor.address) as vm:
        vm.begin(Netdevs())
        await vm.tapped_once()
        recording = asyncio.create_task(_record(vm, path))
        for number in range(8):
            direction = Direction.OUT if number % 2 else Direction.IN
            fake_network.write("u1", direction, bytes([number]) * 60)
        totals = await recording
    assert (totals.written, totals.dropped, totals.gaps, totals.error) == (5, 0, 0, None)
    with CaptureFile(path) as file:
        batch = file.read_batch()
    assert batch is not None
    assert [batch.frame(row)[0] for row in range(len(batch))] == [0, 1, 2, 3, 4]
    assert fake_network.filters == {}


async def _record(vm: FollowedVm, path: str) -> Totals:
    async with asyncio.timeout(30):
        output = open_now(path, form=None, options=FileOptions())
        return await record([Source(vm)], output, stop=Stop(packets=5))
