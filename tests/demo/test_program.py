"""The QEMU that the demo runs in."""

import pytest

from qmon.demo.program import find_qemu
from qmon.errors import QmonError


def test_no_qemu_is_an_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(QmonError, match="not installed") as caught:
        find_qemu()
    assert caught.value.exit_code == 1
    assert caught.value.hint
    assert "nstall" in caught.value.hint


def test_a_named_qemu_is_looked_for_alone() -> None:
    with pytest.raises(QmonError, match="/nonexistent/qemu"):
        find_qemu("/nonexistent/qemu")
