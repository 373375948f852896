"""The command that installs what is missing, per distribution."""

import pytest

from qmon.distribution import Program, how_to_install


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
    assert f"with: sudo {command}" in how_to_install(Program.QEMU, os_release, root=False)
    assert f"with: {command}" in how_to_install(Program.QEMU, os_release, root=True)


def test_nixos_has_its_own_way() -> None:
    assert "nix-shell -p qemu" in how_to_install(Program.QEMU, "ID=nixos\n")


@pytest.mark.parametrize("os_release", ["", "ID=", "nonsense", "ID=plan9\n\0\xff"])
def test_an_unknown_system_is_told_what_is_needed(os_release: str) -> None:
    assert "iPXE" in how_to_install(Program.QEMU, os_release)


@pytest.mark.parametrize("program", Program)
def test_every_known_distribution_has_every_program(program: Program) -> None:
    for known in ("debian", "ubuntu", "fedora", "arch", "suse", "opensuse", "alpine", "gentoo"):
        assert "Install it with: " in how_to_install(program, f"ID={known}", root=True)
    assert "nix-shell" in how_to_install(program, "ID=nixos")


def test_this_machine_is_asked_when_nothing_is_told() -> None:
    assert how_to_install(Program.TSHARK)
