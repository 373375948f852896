"""The two guests without a disk image: a Linux of one kernel and one busybox, and iPXE's boot ROM.

Owns what is put into the guests; how a VM is started with them is vm.py's.
"""

import functools
import lzma
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab import cache
from tests.lab.cache import LabError
from tests.lab.packages import Archive, unpack

# NICs a test may plug, and what carries them. What these need is found in the modules themselves.
_MODULES = (
    "virtio_pci",
    "virtio_mmio",
    "virtio_net",
    "e1000",
    "e1000e",
    "8139cp",
    "igb",
    "vmxnet3",
    "pcnet32",
    "ne2k-pci",
)
_SCRIPTS = Path(__file__).parent / "guest"
_XZ = b"\xfd7zXZ\x00"


@dataclass(frozen=True, slots=True)
class LinuxGuest:
    """A kernel to give to `-kernel` and an initramfs to give to `-initrd`."""

    kernel: Path
    initramfs: Path


def _dependencies(module: Path) -> list[str]:
    """The modules `module` (an uncompressed .ko) needs, as its own .modinfo names them."""
    _, found, rest = module.read_bytes().partition(b"\x00depends=")
    names = rest[: rest.index(b"\x00")].decode() if found else ""
    return [name for name in names.split(",") if name]


def _in_load_order(modules: Path) -> list[Path]:
    files = {path.stem.replace("-", "_"): path for path in modules.rglob("*.ko")}
    order: dict[str, Path] = {}

    def visit(name: str) -> None:
        name = name.replace("-", "_")
        if name in order or name not in files:
            return
        for needed in _dependencies(files[name]):
            visit(needed)
        order[name] = files[name]

    for wanted in _MODULES:
        visit(wanted)
    return list(order.values())


def _record(
    number: int, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)
) -> bytes:
    """One entry of a cpio archive in the "newc" form (the kernel's buffer-format.rst)."""
    path = name.encode() + b"\x00"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + path
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


def _files(tree: Path) -> Iterator[tuple[str, int, bytes]]:
    directory, program, plain = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644
    for name in ("bin", "dev", "modules", "www", "run", "tmp", "etc"):
        yield name, directory, b""
    yield "bin/busybox", program, (tree / "bin/busybox").read_bytes()
    yield "bin/sh", stat.S_IFLNK | 0o777, b"busybox"
    for script in sorted(_SCRIPTS.iterdir()):
        yield script.name, program, script.read_bytes()
    for number, module in enumerate(_in_load_order(tree / "lib/modules")):
        yield f"modules/{number:02}-{module.name}", plain, module.read_bytes()
    yield "www/index.html", plain, b"hello from the guest\n"
    yield "www/large", plain, bytes(range(256)) * 4096


def _initramfs(tree: Path) -> bytes:
    console = _record(1, "dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    parts = [_record(n, *entry) for n, entry in enumerate(_files(tree), start=2)]
    return b"".join([parts[0], parts[1], console, *parts[2:], _record(0, "TRAILER!!!", 0)])


def _vmlinux(image: bytes) -> bytes:
    """The kernel inside the self-extracting `image`: QEMU boots it directly, and an emulated CPU unpacks slowly."""
    start = image.find(_XZ)
    if start < 0:
        raise LabError("the kernel image holds no XZ stream")
    kernel = lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(image[start:])
    if not kernel.startswith(b"\x7fELF"):
        raise LabError("the kernel image holds something that is no ELF file")
    return kernel


def _build_packages(making: Path) -> None:
    apt, tree = making / "apt", making / "whole"
    tree.mkdir()
    archive = Archive(apt, ("bookworm",))
    unpack(archive.alone(archive.depends("linux-image-amd64", "linux-image-"), "busybox-static"), tree)
    (making / "vmlinux").write_bytes(_vmlinux(next((tree / "boot").glob("vmlinuz-*")).read_bytes()))
    (making / "bin").mkdir()
    shutil.copy2(tree / "bin/busybox", making / "bin/busybox")
    (making / "lib/modules").mkdir(parents=True)
    for module in _in_load_order(tree / "lib/modules"):
        shutil.copy2(module, making / "lib/modules")
    shutil.rmtree(apt)
    shutil.rmtree(tree)


def _build_initramfs(packages: Path, making: Path) -> None:
    (making / "initramfs").write_bytes(_initramfs(packages))


def _fingerprint() -> str:
    """Names the initramfs after what went into it, so that a changed script is seen."""
    import hashlib

    material = [path.read_bytes() for path in sorted(_SCRIPTS.iterdir())] + [Path(__file__).read_bytes()]
    return hashlib.sha256(b"\x00".join(material)).hexdigest()[:12]


@functools.cache
def linux() -> LinuxGuest:
    """The Linux guest, from the cache, made if need be; LabError when it cannot be had here."""
    packages = cache.entry("linux", _build_packages)
    made = cache.entry(f"initramfs-{_fingerprint()}", functools.partial(_build_initramfs, packages))
    return LinuxGuest(packages / "vmlinux", made / "initramfs")
