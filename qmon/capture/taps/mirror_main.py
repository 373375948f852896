"""The mirror process: takes frames off QEMU's mirror sockets at once, and keeps them in memfds until qmon reads.

Run by path with `python -I -S`, as `mirror_main.py OWNER_PIDFD COUNTER_FD LIMIT SOCKET:MEMFD …`. QEMU waits while a
mirror's socket is full, so this only reads, stamps and stores; beyond LIMIT allocated bytes it goes on reading and
counts what it throws away. Must never import anything but a little of the standard library, nor wait for anyone
but QEMU.
"""

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time

_DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTSTP)
_READ_BYTES = 1 << 20
# pcap's header: native order, version 2.4, Ethernet (tcpdump.org, pcap-savefile).
_HEADER = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1)
# net/filter-mirror.c has no longer frame than NET_BUFSIZE.
_LONGEST = 4096 + 65536


class Stream:
    """One mirror's socket and the memfd its frames go to."""

    def __init__(self, source: int, target: int, limit: int) -> None:
        self.source = source
        # Opened anew, so that writes are told to those who watch the file.
        self.target = os.open(f"/proc/self/fd/{target}", os.O_WRONLY | os.O_APPEND)
        self.limit = limit
        self.dropped = 0
        self.buffer = bytearray()
        os.write(self.target, _HEADER)

    def take(self) -> bool:
        """Read what is there and store whole frames; say whether the connection still stands."""
        try:
            data = os.read(self.source, _READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        self.buffer += data
        return self.store(time.time_ns())

    def store(self, now: int) -> bool:
        """Turn whole frames into records; False if what comes is not a mirror's stream."""
        seconds, rest = divmod(now, 1_000_000_000)
        stamp = struct.pack("=II", seconds, rest // 1000)
        records, at, view = [], 0, bytes(self.buffer)
        while at + 4 <= len(view):
            size = int.from_bytes(view[at : at + 4], "big")
            if size > _LONGEST:
                return False
            if at + 4 + size > len(view):
                break
            records += [stamp, struct.pack("=II", size, size), view[at + 4 : at + 4 + size]]
            at += 4 + size
        del self.buffer[:at]
        if os.fstat(self.target).st_blocks * 512 > self.limit:
            self.dropped += len(records) // 3
        elif records:
            os.write(self.target, b"".join(records))
        return True


def hang_up(fd: int) -> None:
    """End a connection whoever else holds it: QEMU would wait for ever for a socket that nobody reads."""
    with contextlib.suppress(OSError), socket.socket(fileno=fd) as ended:
        ended.shutdown(socket.SHUT_RDWR)


def main(words: list[str]) -> None:
    """Read until the owner ends or QEMU has hung up on all sockets."""
    for number in _DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    owner, counter, limit = int(words[0]), int(words[1]), int(words[2])
    pairs = [tuple(map(int, word.split(":"))) for word in words[3:]]
    streams = {source: Stream(source, target, limit) for source, target in pairs}
    poll = select.poll()
    poll.register(owner, select.POLLIN)
    for source in streams:
        os.set_blocking(source, False)
        poll.register(source, select.POLLIN)
    standing = set(streams)
    while standing:
        ready = [fd for fd, _ in poll.poll()]
        for fd in standing & set(ready):
            if not streams[fd].take():
                poll.unregister(fd)
                standing.remove(fd)
                hang_up(fd)
        dropped = sum(stream.dropped for stream in streams.values())
        with contextlib.suppress(OSError):
            os.pwrite(counter, dropped.to_bytes(8, "little"), 0)
        if owner in ready:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
