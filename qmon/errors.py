"""The errors qmon shows to people: a message with the cause in it, and a hint for going on.

Owns the exit codes of the command line. Must never hold logic: an error is a message, a hint and a code.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the shell is told."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CANNOT_ATTACH = 3
    TIMED_OUT = 124


class QmonError(Exception):
    """Root of all errors meant for the user; `hint` is the next step, where there is one."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, hint={self.hint!r})"


class UsageError(QmonError):
    """The words of the command are wrong: nothing was sent anywhere."""

    exit_code = ExitCode.USAGE


class CannotAttach(QmonError):
    """No such VM, or its monitor could not be used (refused, busy, silent, not QMP)."""

    exit_code = ExitCode.CANNOT_ATTACH


class Refused(QmonError):
    """The VM (or qmon, on its behalf) said no: nothing was changed."""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        qmp_class: str = "GenericError",
        reason: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.qmp_class = qmp_class
        self.reason = message if reason is None else reason


class Interrupted(QmonError):
    """The peer went away before it answered: whether the command was carried out cannot be known."""


class TimedOut(QmonError):
    """A deadline passed; what was asked for may still happen."""

    exit_code = ExitCode.TIMED_OUT


class DamagedFile(QmonError):
    """A capture file is not what it claims to be; `offset` is where, in bytes."""

    def __init__(self, message: str, *, hint: str | None = None, offset: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.offset = offset
