"""The guardian process: outlives qmon, and stops what QEMU would otherwise go on writing for nobody.

Run by path with `python -I -S`, as `guardian_main.py SOCKET_FD OWNER_PIDFD`, in a session of its own. Over the
socket come `hold NUMBER VM PID LIMIT SIZE_LIMIT` with a memfd, and `drop NUMBER`; back goes `sealed WHY NUMBER …`
before memfds are sealed because of their size: WHY is `limit`, `memory` or `length`. Must never import anything but a
little of the standard library, write to a memfd, or talk to a VM.
"""

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys

_DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTSTP)
# No VM was seen to write faster than this; it says how long to sleep before looking again.
_FASTEST_BYTES_PER_S = 2_000_000_000
_SHORTEST_S, _LONGEST_S = 0.002, 0.2
_MEMORY_EVERY_S = 1.0
_LARGEST = 1 << 62


def _number(path: str) -> int | None:
    try:
        with open(path, "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def cgroup_folders(pid: int) -> list[tuple[str, str, str]]:
    """Return the memory control groups a process is in, innermost first, as (folder, limit file, usage file)."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names = ("memory.max", "memory.current")
            roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            roots = ["/sys/fs/cgroup/memory"]
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        for depth in range(len(parts), -1, -1):
            found += [("/".join([root, *parts[:depth]]), *names) for root in roots]
    return found


def free_memory(pid: int) -> int:
    """Return how many bytes a process's control groups let it allocate yet; huge where nothing limits it."""
    free = _LARGEST
    for folder, limit_name, usage_name in cgroup_folders(pid):
        limit, usage = _number(f"{folder}/{limit_name}"), _number(f"{folder}/{usage_name}")
        if limit is not None and usage is not None:
            free = min(free, max(0, limit - usage))
    return free


def available_memory() -> int:
    """Return how many bytes this machine can give out without swapping; huge where the kernel does not say."""
    with contextlib.suppress(OSError, ValueError), open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return _LARGEST


def allowance(pid: int, limit: int, used: int) -> int:
    """Return how many bytes a VM's taps may hold: `limit`, or a quarter of what would be free without them."""
    free = min(available_memory(), free_memory(pid) if pid else _LARGEST)
    return min(limit, (free + used) // 4)


def seal(fd: int) -> None:
    """Let QEMU write no further."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)


def is_sealed(fd: int) -> bool:
    """Say whether somebody has done that already."""
    with contextlib.suppress(OSError):
        return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_GROW)
    return False


class Held:
    """The memfds of one VM."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.files: dict[int, tuple[int, int]] = {}  # number: (descriptor, largest size)
        self.limit = 0
        self.allowed = 0
        self.told: set[int] = set()  # Files that were sealed: a plain one cannot be, and stays too big.

    def headroom(self, peer: socket.socket) -> int:
        """Seal everything if it has become too much; return how many bytes are left until then."""
        used, left = 0, _LARGEST
        for fd, largest in self.files.values():
            status = os.fstat(fd)
            used += status.st_blocks * 512
            left = min(left, largest - status.st_size)
        room = self.allowed - used
        if min(left, room) > 0:
            return min(left, room)
        self.seal(peer, "length" if left <= 0 else "memory" if self.allowed < self.limit else "limit")
        return _LARGEST

    def seal(self, peer: socket.socket, why: str) -> None:
        """Seal every file, having told the owner why: it must know as soon as it sees the seal."""
        new = [
            number for number, (fd, _) in self.files.items() if number not in self.told and not is_sealed(fd)
        ]
        if not new:
            return
        self.told.update(new)
        with contextlib.suppress(OSError):
            peer.send(" ".join(["sealed", why, *map(str, new)]).encode(), socket.MSG_DONTWAIT)
        for number in new:
            seal(self.files[number][0])

    def used(self) -> int:
        """Return the allocated bytes."""
        return sum(os.fstat(fd).st_blocks * 512 for fd, _ in self.files.values())


def obey(vms: dict[int, Held], words: list[bytes], fds: list[int]) -> None:
    """Do what one message says."""
    if words[0] == b"hold" and fds:
        number, vm, pid, limit, largest = map(int, words[1:6])
        held = vms.setdefault(vm, Held(pid))
        held.files[number] = (fds[0], largest)
        held.limit = limit
        held.allowed = allowance(pid, limit, held.used())
    elif words[0] == b"drop":
        for held in vms.values():
            fd, _ = held.files.pop(int(words[1]), (-1, 0))
            held.told.discard(int(words[1]))
            if fd >= 0:
                os.close(fd)


def watch(peer: socket.socket, owner: int) -> dict[int, Held]:
    """Hold the VMs to their limits until the owner ends; return what is held then."""
    vms: dict[int, Held] = {}
    poll = select.poll()
    poll.register(peer, select.POLLIN)
    poll.register(owner, select.POLLIN)
    since_memory_s = 0.0
    while True:
        left = min((held.headroom(peer) for held in vms.values() if held.files), default=_LARGEST)
        pause_s = min(max(left / _FASTEST_BYTES_PER_S, _SHORTEST_S), _LONGEST_S)
        ready = [fd for fd, _ in poll.poll(pause_s * 1000)]
        if peer.fileno() in ready:
            message, fds, _, _ = socket.recv_fds(peer, 4096, 4)
            if not message:
                return vms
            obey(vms, message.split(), fds)
        elif owner in ready:
            return vms
        since_memory_s += pause_s
        if since_memory_s >= _MEMORY_EVERY_S:
            since_memory_s = 0.0
            for held in vms.values():
                held.allowed = allowance(held.pid, held.limit, held.used())


def main(words: list[str]) -> None:
    """Guard until the owner ends, then seal all and give the memory back."""
    for number in _DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=int(words[0])) as peer:
        vms = watch(peer, int(words[1]))
        files = [fd for held in vms.values() for fd, _ in held.files.values()]
        # First all seals: a writer must not get in between.
        for fd in files:
            seal(fd)
        for fd in files:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
