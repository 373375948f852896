"""One VM of the lab: started, waited for, and always gone at the end.

Owns the VM's process, its directory, its serial console and a monitor of the lab's own. It must leave nothing
behind: no process, no file, whatever the test did.
"""

import asyncio
import os
import re
import shlex
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from tests.lab import guests
from tests.lab.cache import LabError
from tests.lab.qemus import Qemu
from tests.lab.qmp import QmpClient
from tests.lab.serial import Serial

IPXE_SCRIPT = """\
#!ipxe
:again
imgfetch tftp://${next-server}/payload || echo no payload
imgfree
sleep 1
goto again
"""
_TAIL = 2000


class LabVm:
    """A running VM. `qmp` holds the socket paths of its monitors that are free for the test to use."""

    def __init__(self, qemu: Qemu, directory: Path, name: str, monitors: int) -> None:
        self.qemu = qemu
        self.name = name
        self.directory = directory
        self.qmp = [str(directory / f"qmp{number}.sock") for number in range(monitors)]
        self.serial = directory / "serial.log"
        self.stderr = directory / "stderr.log"
        self.argv: tuple[str, ...] = ()
        self.console: Serial | None = None
        self.monitor: QmpClient | None = None
        self._process: asyncio.subprocess.Process | None = None

    def __repr__(self) -> str:
        state = "running" if self.running else "ended"
        return f"<LabVm {self.name} pid {self.pid if self._process else '-'} QEMU {self.qemu.full} {state}>"

    @property
    def pid(self) -> int:
        """The process id of QEMU itself."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether QEMU has not ended."""
        return self._process is not None and self._process.returncode is None

    def report(self) -> str:
        """What to show when something went wrong: command line, QEMU's messages, the end of the serial log."""
        stderr = self.stderr.read_text(errors="replace")[-_TAIL:] if self.stderr.exists() else ""
        serial = self.serial.read_bytes()[-_TAIL:].decode(errors="replace") if self.serial.exists() else ""
        return f"{self!r}\n$ {shlex.join(self.argv)}\n--- stderr\n{stderr}\n--- serial\n{serial!r}"

    async def qmp_raw(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:
        """Send `command` over the lab's own monitor; its return value, QmpRefused for an error."""
        if self.monitor is None:
            raise LabError("this VM was started without a monitor of the lab's own")
        return await self.monitor.execute(command, arguments)

    async def hmp_raw(self, line: str) -> str:
        """Send `line` to HMP over the lab's own monitor; the reply with plain line ends."""
        return str(await self.qmp_raw("human-monitor-command", {"command-line": line})).replace("\r\n", "\n")

    async def wait_serial(self, pattern: str, *, timeout_s: float = 60) -> re.Match[str]:
        """Wait until the serial output so far holds `pattern` (a regular expression)."""
        assert self.console is not None
        return await self.console.wait_for(pattern, timeout_s=timeout_s)

    async def shell(self, command: str, *, timeout_s: float = 30) -> str:
        """Run `command` in the Linux guest; its output. LabError if it fails or takes longer."""
        assert self.console is not None
        return await self.console.shell(command, timeout_s=timeout_s)

    async def wait_lease(self, nic: str = "eth0", *, timeout_s: float = 60) -> str:
        """Wait until the Linux guest's `nic` has a DHCP lease; the address."""
        return (await self.wait_serial(rf"^## lease {nic} ([0-9.]+)\n", timeout_s=timeout_s))[1]

    async def wait_exit(self, *, timeout_s: float = 30) -> int:
        """Wait until QEMU has ended by itself; its status."""
        assert self._process is not None
        async with asyncio.timeout(timeout_s):
            return await self._process.wait()

    def send_signal(self, number: int) -> None:
        """Send a signal to QEMU, by its pid."""
        os.kill(self.pid, number)

    async def start(
        self, argv: tuple[str, ...], env: Mapping[str, str], *, serial: bool, monitor: bool
    ) -> None:
        """Start QEMU and connect to what is the lab's of it."""
        self.argv = argv
        # Should the test run be killed, the kernel kills the VM.
        leash = (found, "--pdeathsig", "KILL", "--") if (found := shutil.which("setpriv")) else ()
        with self.stderr.open("wb") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *leash,
                *argv,
                cwd=self.directory,
                env={**os.environ, **self.qemu.env, **env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )
        async with asyncio.timeout(30):
            await self._until(self._is_itself)
            if serial:
                self.console = await self._connected(Serial.connect, str(self.directory / "serial.sock"))
            if monitor:
                self.monitor = await self._connected(QmpClient.connect, str(self.directory / "lab.sock"))
            for path in self.qmp:
                await self._until(lambda path=path: Path(path).exists())

    def _is_itself(self) -> bool:
        # Until it has become QEMU the process is still the leash that starts it.
        try:
            running = Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return False
        # A QEMU may itself be started through other words, such as unshare's.
        return running.partition(b"\0")[0].decode() in self.argv

    async def _until(self, fact: Any) -> None:
        while True:
            if self._process is not None and self._process.returncode is not None:
                raise LabError(f"QEMU ended with {self._process.returncode}")
            if fact():
                return
            await asyncio.sleep(0.01)

    async def _connected(self, connect: Any, path: str) -> Any:
        while True:
            await self._until(Path(path).exists)
            with suppress(ConnectionError):
                return await connect(path)
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Kill QEMU if it still runs, and make sure that it is gone."""
        if self._process is not None:
            if self.running:
                with suppress(ProcessLookupError):
                    self._process.send_signal(signal.SIGKILL)
            async with asyncio.timeout(30):
                await self._process.wait()
        for peer in (self.monitor, self.console):
            if peer is not None:
                await peer.close()


def _guest_arguments(guest: str | None, vm: LabVm, args: tuple[str, ...], script: str) -> list[str]:
    if guest is None:
        return []
    if guest == "linux":
        kit = guests.linux()
        words = f"console=ttyS0 quiet nokaslr mitigations=off panic=-1 tsc=reliable lab.host={vm.name}"
        # Boot ROMs would only cost time: the kernel is given.
        roms = ["-global", "pci-device.romfile="]
        return [*roms, "-kernel", str(kit.kernel), "-initrd", str(kit.initramfs), "-append", words]
    tftp = vm.directory / "tftp"
    tftp.mkdir()
    (tftp / "boot.ipxe").write_text(script)
    (tftp / "payload").write_bytes(bytes(range(256)) * 64)
    if "-netdev" in args or "-nic" in args:
        return ["-boot", "n"]
    netdev = f"user,id=u1,tftp={tftp},bootfile=boot.ipxe"
    return ["-boot", "n", "-netdev", netdev, "-device", "virtio-net-pci,id=nic1,netdev=u1"]


def _lab_arguments(vm: LabVm, guest: str | None, *, lab_monitor: bool) -> list[str]:
    words = []
    for number, path in enumerate(vm.qmp):
        words += ["-chardev", f"socket,id=qmp{number},path={path},server=on,wait=off"]
        words += ["-mon", f"chardev=qmp{number},mode=control"]
    if lab_monitor:
        words += ["-chardev", f"socket,id=lab-monitor,path={vm.directory}/lab.sock,server=on,wait=off"]
        words += ["-mon", "chardev=lab-monitor,mode=control"]
    if guest is not None:
        socket = (
            f"socket,id=lab-serial,path={vm.directory}/serial.sock,server=on,wait=off,logfile={vm.serial}"
        )
        words += ["-chardev", socket, "-serial", "chardev:lab-serial"]
    return words


@asynccontextmanager
async def start_vm(
    qemu: Qemu,
    *args: str,
    guest: Literal["linux", "ipxe"] | None = None,
    monitors: int = 1,
    name: str | None = "lab",
    env: Mapping[str, str] | None = None,
    machine: str = "pc",
    memory_mb: int | None = None,
    lab_monitor: bool = True,
    script: str = IPXE_SCRIPT,
) -> AsyncIterator[LabVm]:
    """Start a VM of `qemu` with `args` added and kill it at the end.

    In `args`, `{directory}` stands for the VM's directory, which is QEMU's working directory too. `monitors` QMP
    sockets are made for the test (`vm.qmp`); for other forms give 0 and the options in `args`. The lab's own monitor
    comes last and is always held. `name=None` starts it without -name. guest="ipxe" without a -netdev or -nic in
    `args` gets netdev `u1` (user) with NIC `nic1`; with one, give it `tftp={directory}/tftp,bootfile=boot.ipxe`.
    guest="linux" has no NIC unless `args` bring one. Without a guest the machine runs its firmware.
    What the VM said is added to any error the test raises.
    """
    directory = Path(tempfile.mkdtemp(prefix="qmon-lab-"))
    vm = LabVm(qemu, directory, name or "lab", monitors)
    memory_mb = memory_mb or {"linux": 128, "ipxe": 64, None: 16}[guest]
    graphics = "" if "graphics=" in machine else ",graphics=off"
    argv = [*qemu.argv, *(["-name", name] if name else []), "-machine", machine + graphics, "-accel", "tcg"]
    argv += [
        "-m",
        str(memory_mb),
        "-nodefaults",
        "-display",
        "none",
        *_lab_arguments(vm, guest, lab_monitor=lab_monitor),
    ]
    try:
        argv += _guest_arguments(guest, vm, args, script)
        argv += [word.replace("{directory}", str(directory)) for word in args]
        await vm.start(tuple(argv), env or {}, serial=guest is not None, monitor=lab_monitor)
        yield vm
    except BaseException as error:
        error.add_note(vm.report())
        raise
    finally:
        try:
            await vm.stop()
        finally:
            shutil.rmtree(directory, ignore_errors=True)
