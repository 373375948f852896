"""Taps, bridges and masquerading on a host of the test's own: made, used, removed, broken off at every step."""

import asyncio
import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from qmon.errors import Refused, UsageError
from qmon.host import state
from qmon.host.bridges import check_uplink
from qmon.host.taps import check_name, nat_plan
from tests.host.box import Box, box

NAT = ("tap", "add", "tap0", "--nat", "10.99.0.0/24")
BRIDGE = ("bridge", "add", "br0", "--uplink", "up0", "--yes")


async def test_a_tap_comes_and_goes() -> None:
    async with box() as host:
        before = host.state()
        assert "has no tap" in host.qmon("tap", "ls").err
        planned = host.qmon("tap", "add", "tap0", "--user", "1000", "--dry-run")
        assert planned.out.splitlines() == [
            "ip tuntap add dev tap0 mode tap user 1000",
            "ip link set tap0 up",
        ]
        assert host.state() == before
        made = host.qmon("tap", "add", "tap0", "--user", "1000")
        assert (made.code, "ifname=tap0" in made.err) == (0, True)
        listed = json.loads(host.qmon("tap", "ls", "-o", "json").out)["taps"]
        assert listed == [
            {"name": "tap0", "vm": None, "pid": None, "bridge": None, "uid": 1000, "carrier": False}
        ]
        again = host.qmon("tap", "add", "tap0")
        assert (again.code, "there is an interface 'tap0' already" in again.err) == (1, True)
        assert host.qmon("tap", "rm", "tap0").code == 0
        assert host.qmon("tap", "rm", "tap0").code == 1
        assert host.state() == before


async def test_a_bridge_takes_its_uplink_over_and_gives_it_back() -> None:
    async with box(uplink=True) as host:
        before = host.state()
        nobody = host.qmon(*BRIDGE[:-1])
        assert (nobody.code, "--yes" in nobody.err) == (1, True)
        assert host.state() == before
        assert host.qmon(*BRIDGE).code == 0
        links = {name: (bridge, mac, addresses) for name, bridge, mac, addresses in host.state()["links"]}
        assert links["up0"][::2] == ("br0", [])
        assert links["br0"][1] == links["up0"][1]
        assert {address for address, _, _ in links["br0"][2]} == {
            "192.0.2.10",
            "198.51.100.7",
            "2001:db8::10",
        }
        assert "default via 192.0.2.1 dev br0" in host.run("ip", "route")
        assert host.qmon("tap", "add", "tap0", "--bridge", "br0").code == 0
        listed = json.loads(host.qmon("bridge", "ls", "-o", "json").out)["bridges"]
        assert listed == [{"name": "br0", "ports": ["tap0", "up0"]}]
        used = host.qmon("bridge", "rm", "br0", "--yes")
        assert (used.code, "there are still tap0" in used.err) == (1, True)
        assert host.qmon("tap", "rm", "tap0").code == 0
        assert host.qmon("bridge", "rm", "br0", "--yes").code == 0
        assert host.state() == before


async def test_masquerading_is_for_its_own_interfaces_and_is_taken_back() -> None:
    async with box(uplink=True) as host:
        before = host.state()
        made = host.qmon(*NAT, "-o", "json")
        assert made.code == 0, made.err
        now = host.state()
        assert now["forwarding"].count(":1") == 2
        assert "ip_forward:0" in now["forwarding"]
        assert "table inet qmon-tap0" in now["nft"]
        assert 'ip saddr 10.99.0.0/24 oifname "up0" masquerade' in now["nft"]
        assert "10.99.0.1/24" in host.run("ip", "address", "show", "tap0")
        if json.loads(made.out)["dhcp"]:
            assert (
                host.run("sh", "-c", "kill -0 $(cat /run/qmon/host/dnsmasq-tap0.pid) && echo runs")
                == "runs\n"
            )
        assert host.qmon("tap", "rm", "tap0").code == 0
        assert host.state() == before
        assert host.run("sh", "-c", "find /run/qmon -type f") == ""


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), (None, 1)])
async def test_an_uplink_is_kept_on_the_users_word_only(answer: str | None, code: int) -> None:
    async with box(uplink=True) as host:
        before = host.state()
        terminal, ours = pty.openpty()
        words = host.python("tests.host.impatient", *BRIDGE[:-1])
        started = await asyncio.create_subprocess_exec(*words, stdin=ours, stderr=subprocess.PIPE)
        os.close(ours)
        try:
            assert started.stderr is not None
            async with asyncio.timeout(30):
                assert b"Does the network work?" in await started.stderr.readline()
                assert host.state() != before
                if answer is not None:
                    os.write(terminal, f"{answer}\n".encode())
                assert await started.wait() == code
        finally:
            await started.communicate()
            os.close(terminal)
        assert (host.state() == before) is (code != 0)


# How qmon ends that is broken off.
CODES = {"fail": 1, "kill": -signal.SIGKILL}


@pytest.mark.parametrize("how", CODES)
@pytest.mark.parametrize("words", [NAT, BRIDGE], ids=["nat", "bridge"])
async def test_whatever_breaks_off_nothing_stays(words: tuple[str, ...], how: str) -> None:
    async with box(uplink=True) as host:
        before = host.state()
        async for code in host.broken_off(how, _steps(host, *words), *words):
            assert (code, host.state()) == (CODES[how], before)
        assert host.run("sh", "-c", "find /run/qmon -type f") == ""


@pytest.mark.parametrize("how", CODES)
async def test_a_removal_that_breaks_off_leaves_all_of_it(how: str) -> None:
    words = ("bridge", "rm", "br0", "--yes")
    async with box(uplink=True) as host:
        assert host.qmon(*BRIDGE).code == 0
        before = host.state()
        async for code in host.broken_off(how, _steps(host, *words), *words):
            now = host.state()
            assert (code, now["routes"], _addresses(now)) == (
                CODES[how],
                before["routes"],
                _addresses(before),
            )
        assert host.qmon(*words).code == 0


def _addresses(found: dict[str, list[tuple[str, str | None, str, list[object]]]]) -> object:
    return {name: (bridge, sorted(map(str, addresses))) for name, bridge, _, addresses in found["links"]}


def _steps(host: Box, *words: str) -> int:
    planned = host.qmon(*(word for word in words if word != "--yes"), "--dry-run", "-o", "json")
    return len(json.loads(planned.out)["commands"])


# What speaks against an uplink, on a made-up sysfs and `/run`.


@pytest.fixture
def card(tmp_path: Path) -> Path:
    (tmp_path / "sys" / "if0").mkdir(parents=True)
    (tmp_path / "sys" / "if0" / "ifindex").write_text("7\n")
    return tmp_path


def test_wifi_is_told_by_sysfs(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not state.is_wireless("if0", sys=card / "sys")
    (card / "sys" / "if0" / "phy80211").mkdir()
    assert state.is_wireless("if0", sys=card / "sys")
    monkeypatch.setattr(state, "exists", lambda _: True)
    monkeypatch.setattr(state, "is_wireless", lambda _: True)
    for force in (False, True):
        with pytest.raises(Refused, match="an access point drops frames") as refused:
            check_uplink("wlan0", force=force)
        assert "--nat" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("path", "content", "manager"),
    [
        ("NetworkManager/devices/7", "[device]\nmanaged=full\n", "NetworkManager"),
        ("NetworkManager/devices/7", "[device]\nmanaged=unmanaged\n", None),
        ("systemd/netif/links/7", "ADMIN_STATE=configured\n", "systemd-networkd"),
        ("systemd/netif/links/7", "ADMIN_STATE=unmanaged\n", None),
        ("systemd/netif/links/8", "ADMIN_STATE=configured\n", None),
    ],
)
def test_who_manages_an_interface(card: Path, path: str, content: str, manager: str | None) -> None:
    (card / "run" / path).parent.mkdir(parents=True)
    (card / "run" / path).write_text(content)
    assert state.manager_of("if0", sys=card / "sys", run=card / "run") == manager


@pytest.mark.parametrize("name", ["", "x" * 16, "a b", "a/b", "..", "a:b"])
def test_names_that_no_interface_has(name: str) -> None:
    with pytest.raises(UsageError):
        check_name(name)


@pytest.mark.parametrize("text", ["nonsense", "10.0.0.0/31", "fd00::/64"])
def test_networks_that_no_guest_can_use(text: str) -> None:
    with pytest.raises(UsageError):
        nat_plan(text)
