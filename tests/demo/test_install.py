"""The command that installs what is missing, per distribution."""

import pytest

from qmon.demo.install import find_qemu, how_to_install
from qmon.errors import QmonError


@pytest.mark.parametrize(
    ("os_release", "command"),
    [
        ("ID=debian\n", "apt-get install --no-install-recommends qemu-system-x86 ipxe-qemu"),
        ('ID="linuxmint"\nID_LIKE="ubuntu debian"\n', "apt-get install"),
        ("ID=fedora\n", "dnf install qemu-system-x86-core ipxe-roms-qemu"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install"),
        ("ID=arch\n", "pacman -S qemu-system-x86"),
        ("ID=manjaro\nID_LIKE=arch\n", "pacman -S"),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', "zypper install qemu-x86 qemu-ipxe"),
        ("ID=alpine\n", "apk add"),
    ],
)
def test_the_distributions_command(os_release: str, command: str) -> None:
    assert f"with: sudo {command}" in how_to_install(os_release, root=False)
    assert f"with: {command}" in how_to_install(os_release, root=True)


def test_nixos_has_its_own_way() -> None:
    assert "nix-shell -p qemu" in how_to_install("ID=nixos\n")


@pytest.mark.parametrize("os_release", ["", "ID=", "nonsense", "ID=plan9\n\0\xff"])
def test_an_unknown_system_is_told_what_is_needed(os_release: str) -> None:
    assert "iPXE" in how_to_install(os_release)


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
