"""A guardian without a process: it holds what it is given, and seals when a test says so."""

from dataclasses import dataclass, field

from qmon.capture.reading import kernel
from qmon.capture.reading.channel import Full


@dataclass
class FakeGuarded:
    """One memfd under guard."""

    fd: int
    vm: int
    full: Full | None = None
    dropped: bool = False

    def drop(self) -> None:
        """Guard it no longer."""
        self.dropped = True


@dataclass
class FakeGuardian:
    """Stands for `qmon.capture.taps.guardian.Guardian` where a test needs no process."""

    held: list[FakeGuarded] = field(default_factory=list)

    def hold(
        self, fd: int, *, vm: int, pid: int | None, limit_bytes: int, largest_bytes: int = 1 << 62
    ) -> FakeGuarded:
        """Guard a memfd."""
        self.held.append(FakeGuarded(fd, vm))
        return self.held[-1]

    def check(self) -> bool:
        """Say whether a guardian had to be started."""
        return False

    def seal(self, why: Full) -> None:
        """Seal everything that is held."""
        for one in self.held:
            if not one.dropped:
                one.full = why
                kernel.seal_growth(one.fd)
