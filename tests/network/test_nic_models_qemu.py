"""Every NIC model that a QEMU can plug into a running VM: plugged, seen by the guest, unplugged."""

import asyncio
import os

import pytest

from qmon.errors import Refused, UsageError
from qmon.monitor.address import UnixAddress
from qmon.monitor.session import Session
from qmon.network import change
from qmon.network.inspect import inspect
from qmon.network.nics import nic_models
from tests.lab import start_vm
from tests.lab.qemus import Qemu

# What the lab's guest has no driver for: it sees a device, and no interface.
WITHOUT_DRIVER = ("tulip", "usb-net", "i82")
MUST_HAVE = {
    *("virtio-net-pci", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3", "tulip", "usb-net"),
    *("i82550", "i82557b", "i82559c", "i82562", "i82801"),
}
WAIT = """
for turn in $(seq 100); do
  [ $(ls -d /sys/class/net/eth* | wc -l) -ge {drivers} ] && [ $(ls /sys/bus/pci/devices | wc -l) = {devices} ] && break
  sleep 0.2
done
cat /sys/class/net/eth*/address
"""


@pytest.mark.timeout(240)
async def test_every_model_is_plugged_and_seen_and_unplugged(qemu: Qemu) -> None:
    async with (
        start_vm(qemu, "-device", "qemu-xhci,id=xhci", guest="linux") as vm,
        await Session.attach(UnixAddress(vm.qmp[0])) as session,
    ):
        models = await nic_models(session)
        names = [model.name for model in models]
        assert set(names) >= MUST_HAVE
        # No NIC asks for a lease: that would take the guest more time than all of this.
        await vm.shell("for n in $(seq 0 63); do mkdir /run/seen.eth$n; done")
        before = int(await vm.shell("ls /sys/bus/pci/devices | wc -l"))
        for name in names:
            await change.plug(session, f"user,id=net-{name}", f"{name},id=nic-{name}")
        plugged = {nic.id.removeprefix("nic-"): str(nic.mac) for nic in (await inspect(session)).nics}
        assert set(plugged) == set(names)
        assert len(set(plugged.values())) == len(names)
        seen = [name for name in names if not name.startswith(WITHOUT_DRIVER)]
        devices = before + sum(model.bus == "PCI" for model in models)
        found = (await vm.shell(WAIT.format(drivers=len(seen), devices=devices), timeout_s=90)).split()
        assert {plugged[name] for name in seen} <= set(found)
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(change.unplug(session, f"nic-{name}", timeout_s=90), name=name)
        network = await inspect(session)
        assert (network.nics, network.netdevs) == ((), ())
        assert int(await vm.shell("ls /sys/bus/pci/devices | wc -l")) == before
        assert os.readlink(f"/proc/{vm.pid}/fd/0") == "/dev/null"


async def test_addresses_that_cannot_be(qemu: Qemu) -> None:
    async with start_vm(qemu) as vm, await Session.attach(UnixAddress(vm.qmp[0])) as session:
        await change.plug(session, "user,id=u1", "e1000,id=nic1,mac=52:54:00:00:00:01")
        with pytest.raises(Refused, match="is the address of nic1 already"):
            await change.plug(session, "user,id=u2", "e1000,id=nic2,mac=52:54:00:00:00:01")
        with pytest.raises(UsageError, match="multicast"):
            await change.plug(session, "user,id=u2", "e1000,id=nic2,mac=01:00:5e:00:00:01")
        assert [nic.id for nic in (await inspect(session)).nics] == ["nic1"]
