"""The demo's VM: its command line, its servers, its life.

Owns how the VM is put together. It never uses a fixed port or path, so that demos run side by side, and
leaves nothing behind.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

from qmon.demo import accelerator, program
from qmon.demo.servers import Servers, prose
from qmon.distribution import Program, how_to_install
from qmon.errors import QmonError
from qmon.launch.process import OwnedQemu

NAME = "qmon-demo"
START_S = 20.0
_NO_IPV6_PORT = 9  # Discard: nobody answers, and the guest's attempt is still to be seen.


class DemoVm:
    """A running demo for the length of a `with`; `qemu` and `env` start QEMU, `accel` is kvm, tcg or auto.

    Entering returns when the monitor's socket is there; `QmonError` says why QEMU does not start. Sync, to
    be entered from the main thread (see `OwnedQemu`).
    """

    def __init__(
        self,
        *,
        qemu: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        accel: str = "auto",
        paused: bool = False,
    ) -> None:
        self._qemu = qemu
        self._env = env
        self._accel = accel
        self._paused = paused
        self._stack = ExitStack()
        self.process = OwnedQemu()
        self.accel = ""

    def __repr__(self) -> str:
        return f"<DemoVm {self.accel} {self.process!r}>"

    def __enter__(self) -> Self:
        qemu = self._qemu or [program.find_qemu()]
        with ExitStack() as stack:
            owned = stack.enter_context(self.process)
            servers = stack.enter_context(Servers(owned.directory / "web.sock"))
            self.accel = self._chosen(qemu)
            tftp = _tftp(owned.directory, servers)
            command = [*qemu, *arguments(owned.directory, tftp, self.accel, paused=self._paused)]
            owned.start(command, quiet=True, env=self._env)
            self._wait_for_monitor()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _chosen(self, qemu: Sequence[str]) -> str:
        if self._accel != "auto":
            return self._accel
        return "kvm" if accelerator.kvm_works(qemu) else "tcg"

    def _wait_for_monitor(self) -> None:
        deadline = time.monotonic() + START_S
        while not _answers(self.process.monitor, deadline):
            if self.process.status is not None:
                raise _did_not_start(self.process.status, self.process.last_words())
            if time.monotonic() > deadline:
                raise QmonError(f"QEMU opened no monitor in {START_S:.0f} s", hint=self.process.last_words())
            time.sleep(0.01)


def _answers(monitor: Path, deadline: float) -> bool:
    """Tell whether QEMU is up.

    Its monitor's socket is there before the devices are, and the greeting comes from a thread of its own; a command
    is answered only when all devices were made.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(max(deadline - time.monotonic(), 0.01))
        heard = b""
        try:
            client.connect(str(monitor))
            client.sendall(b'{"execute": "qmp_capabilities"}')
            while b'"return"' not in heard:
                piece = client.recv(4096)
                if not piece:
                    return False
                heard += piece
        except OSError:
            return False
    return True


def arguments(directory: Path, tftp: Path, accel: str, *, paused: bool) -> list[str]:
    """Return the words after QEMU's name."""
    acceleration = "kvm" if accel == "kvm" else "tcg,tb-size=32"
    words = ["-name", NAME, "-machine", "pc,graphics=off", "-accel", acceleration, "-m", "64"]
    words += ["-nodefaults", "-no-user-config", "-display", "none"]
    words += ["-chardev", f"socket,id=qmp,path={_quoted(directory / 'qmp.sock')},server=on,wait=off"]
    words += ["-mon", "chardev=qmp,mode=control"]
    words += ["-chardev", "ringbuf,id=console,size=65536", "-serial", "chardev:console"]
    boot = f"tftp={_quoted(tftp)},bootfile=boot.ipxe"
    web = f"guestfwd=tcp:10.0.2.100:80-unix:{_quoted(directory / 'web.sock')}"
    words += ["-netdev", f"user,id=u1,{boot},hostfwd=tcp:127.0.0.1:0-:22,{web}"]
    words += ["-device", "virtio-net-pci,id=nic1,netdev=u1,bootindex=1"]
    words += ["-netdev", f"user,id=u2,net=10.0.3.0/24,ipv6-net=fec0:0:0:3::/64,tftp={_quoted(tftp)}"]
    words += ["-device", "virtio-net-pci,id=nic2,netdev=u2,romfile="]
    return [*words, "-S"] if paused else words


def _quoted(path: Path) -> str:
    """In QEMU's options a comma in a value is doubled (docs: "-drive file=my,,file")."""
    return str(path).replace(",", ",,")


def _tftp(directory: Path, servers: Servers) -> Path:
    tftp = directory / "tftp"
    tftp.mkdir()
    script = resources.files("qmon.demo").joinpath("data/boot.ipxe").read_text()
    for name, port in (("{port}", servers.port), ("{port6}", servers.port6 or _NO_IPV6_PORT)):
        script = script.replace(name, str(port))
    (tftp / "boot.ipxe").write_text(script)
    (tftp / "motd").write_bytes(prose(2, 300))
    (tftp / "firmware").write_bytes(prose(3, 24_000))
    return tftp


def _did_not_start(status: int, last_words: str) -> QmonError:
    if "romfile" in last_words or ".rom" in last_words:
        why = f"QEMU's iPXE boot ROM is not installed ({last_words})"
        return QmonError(why, hint=how_to_install(Program.QEMU))
    return QmonError(f"QEMU ended with status {status} before the demo began", hint=last_words or None)
