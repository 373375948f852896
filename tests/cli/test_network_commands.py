"""netdev, nic, plug, unplug, forward and info on a real VM, as a user runs them."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.cli.program import qmon
from tests.lab import start_vm
from tests.lab.qemus import Qemu

VM = ("-netdev", "user,id=u1,hostfwd=tcp:127.0.0.1:0-:22", "-device", "virtio-net-pci,id=nic1,netdev=u1")


async def test_a_session_at_the_shell(qemu: Qemu) -> None:
    async with start_vm(qemu, *VM) as vm:
        at = vm.qmp[0]
        assert (
            await qmon("plug", "user,id=u2", "--nic", "e1000,id=nic2,mac=52:54:00:00:00:02", vm=at)
        ).code == 0
        document = (await qmon("info", "network", "-o", "json", vm=at)).json
        assert [netdev["id"] for netdev in document["netdevs"]] == ["u1", "u2"]
        assert document["netdevs"][1].items() >= {"type": "user", "nic": "nic2", "filters": []}.items()
        nic = {"id": "nic2", "model": "e1000", "mac": "52:54:00:00:00:02", "netdev": "u2"}
        assert document["nics"][1].items() >= {**nic, "path": "/machine/peripheral/nic2"}.items()
        assert document["hubs"] == []
        table = (await qmon("info", "network", vm=at)).out.splitlines()
        assert table[0].split() == ["NIC", "MODEL", "MAC", "NETDEV", "TYPE", "INFO"]
        assert table[2].split()[:5] == ["nic2", "e1000", "52:54:00:00:00:02", "u2", "user"]
        raw = await qmon("info", "network", "--raw", vm=at)
        assert " \\ u2: index=0,type=user" in raw.out

        used = await qmon("netdev", "rm", "u2", vm=at)
        assert (used.code, "nic2 is plugged into it" in used.err) == (1, True)
        assert (await qmon("nic", "down", "nic2", vm=at)).code == 0
        links = {
            one["id"]: one["link"] for one in (await qmon("nic", "ls", "-o", "json", vm=at)).json["nics"]
        }
        assert links == {"nic1": None, "nic2": "down"}
        assert (await qmon("hmp", "set_link", "nic2", "on", vm=at)).code == 0
        assert (await qmon("nic", "ls", vm=at)).out.splitlines()[2].split()[3] == "up"
        late = await qmon("unplug", "nic2", "--timeout", "0.3", vm=at)
        assert (late.code, "has not released nic2 within 0.3 s" in late.err) == (124, True)
        late = await qmon("nic", "rm", "nic1", "--timeout", "0.3", vm=at)
        assert late.code == 124
        assert (await qmon("netdev", "add", "user,id=u3", vm=at)).code == 0
        assert (await qmon("netdev", "rm", "u3", vm=at)).code == 0
        assert (await qmon("netdev", "rm", "u3", vm=at)).code == 1
        listed = (await qmon("netdev", "ls", "-o", "json", vm=at)).json["netdevs"]
        assert [netdev["id"] for netdev in listed] == ["u1", "u2"]
        assert [one["id"] for one in (await qmon("nic", "ls", "-o", "json", vm=at)).json["nics"]] == [
            "nic1",
            "nic2",
        ]
        forced = await qmon("unplug", "nic2", "--timeout", "0.3", "--force", vm=at)
        assert (forced.code, "u2 is removed" in forced.err, "the NIC stays, dead" in forced.err) == (
            0,
            True,
            True,
        )
        assert "u2 (deleted)" in (await qmon("netdev", "ls", vm=at)).out
        again = await qmon("netdev", "add", "user,id=u2,hostfwd=tcp::0-:80", vm=at)
        assert again.code == 0
        assert "nic2 was plugged into an older netdev u2" in again.err
        assert "listens on every address" in again.err


async def test_forwards(qemu: Qemu) -> None:
    async with start_vm(qemu, *VM) as vm:
        at = vm.qmp[0]
        made = await qmon("forward", "add", "0:80", vm=at)
        assert made.code == 0
        host, _, port = made.out.strip().partition(":")
        assert (host, int(port) > 0) == ("127.0.0.1", True)
        listed = (await qmon("forward", "ls", "-o", "json", vm=at)).json["forwards"]
        assert {
            "netdev": "u1",
            "protocol": "tcp",
            "host_address": "127.0.0.1",
            "host_port": int(port),
            "guest_address": "10.0.2.15",
            "guest_port": 80,
        } in listed
        assert len(listed) == 2
        stacks = (await qmon("info", "usernet", "-o", "json", vm=at)).json["stacks"]
        assert (stacks[0]["netdev"], len(stacks[0]["connections"])) == ("u1", 2)
        row = stacks[0]["connections"][0]
        assert (row["state"], row["expires_s"], row["destination"]["address"]) == (
            "HOST_FORWARD",
            None,
            "10.0.2.15",
        )
        assert set(row) == {
            *("protocol", "state", "expires_s", "fd", "source", "destination", "recv_queue", "send_queue")
        }
        taken = await qmon("forward", "add", f"{port}:81", vm=at)
        assert (taken.code, "forwarded already" in taken.err) == (1, True)
        assert (await qmon("forward", "rm", port, vm=at)).code == 0
        assert (await qmon("forward", "rm", port, vm=at)).code == 1
        assert (await qmon("forward", "add", "what?", vm=at)).code == 2
        await vm.qmp_raw("netdev_add", {"type": "user", "id": "u2"})
        unclear = await qmon("forward", "add", "0:80", vm=at)
        assert (unclear.code, "u1, u2" in unclear.err) == (2, True)
        document = (await qmon("forward", "add", "*:0:80/udp", "--netdev", "u2", "-o", "json", vm=at)).json
        assert (
            document["forwards"][0].items()
            >= {"netdev": "u2", "host_address": "*", "protocol": "udp"}.items()
        )


async def test_what_would_be_sent(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *VM) as vm:
        before = await vm.hmp_raw("info network") + await vm.hmp_raw("info usernet")

        async def planned(*words: str) -> list[tuple[str, dict[str, object]]]:
            done = await qmon(*words, "--dry-run", vm=vm.qmp[0])
            assert (done.code, done.err) == (0, "")
            commands = done.json["commands"] if "json" in words else map(json.loads, done.out.splitlines())
            return [(one["execute"], one["arguments"]) for one in commands]

        forward = "human-monitor-command"
        assert await planned("plug", "user,id=u2", "--nic", "e1000,id=nic2,mac=52:54:00:00:00:02") == [
            ("netdev_add", {"type": "user", "id": "u2"}),
            ("device_add", {"driver": "e1000", "id": "nic2", "mac": "52:54:00:00:00:02", "netdev": "u2"}),
        ]
        assert [one for one, _ in await planned("unplug", "nic1", "-o", "json")] == [
            "device_del",
            "netdev_del",
        ]
        assert await planned("nic", "down", "nic1") == [("set_link", {"name": "nic1", "up": False})]
        assert await planned("netdev", "rm", "u1", "--force") == [("netdev_del", {"id": "u1"})]
        assert await planned("forward", "add", "8000-8001:80") == [
            (forward, {"command-line": "hostfwd_add u1 tcp:127.0.0.1:8000-:80"}),
            (forward, {"command-line": "hostfwd_add u1 tcp:127.0.0.1:8001-:81"}),
        ]
        port = (await qmon("forward", "ls", "-o", "json", vm=vm.qmp[0])).json["forwards"][0]["host_port"]
        assert await planned("forward", "rm", str(port)) == [
            (forward, {"command-line": f"hostfwd_remove u1 tcp:127.0.0.1:{port}"})
        ]
        assert await vm.hmp_raw("info network") + await vm.hmp_raw("info usernet") == before


async def test_what_was_done_as_json(qemu_one: Qemu) -> None:
    async with start_vm(qemu_one, *VM) as vm:
        at = vm.qmp[0]
        plugged = await qmon("plug", "user,id=u2,hostfwd=tcp::0-:80", "--nic", "e1000", "-o", "json", vm=at)
        document = plugged.json
        assert (document["netdev"], len(document["warnings"])) == ("u2", 1)
        assert document["nic"] in [
            one["id"] for one in (await qmon("nic", "ls", "-o", "json", vm=at)).json["nics"]
        ]
        down = (await qmon("nic", "down", "nic1", "-o", "json", vm=at)).json
        assert down == {"nic": "nic1", "link": "down", "warnings": []}
        assert (await qmon("netdev", "add", "user,id=u3", "-o", "json", vm=at)).json["netdev"] == "u3"
        assert (await qmon("netdev", "rm", "u3", "-o", "json", vm=at)).json["netdev"] == "u3"
        open_one = await qmon("forward", "add", "*:0:80", "--netdev", "u1", "-o", "json", vm=at)
        assert "listens on every address of the host" in open_one.json["warnings"][0]
        port = open_one.json["forwards"][0]["host_port"]
        gone = (await qmon("forward", "rm", f"*:{port}", "-o", "json", vm=at)).json["forwards"]
        assert [one["host_port"] for one in gone] == [port]
        said = await qmon("hmp", "-o", "json", "info", "name", vm=at)
        assert said.json == {"reply": "lab\n", "failed": False}
        bogus = await qmon("hmp", "-o", "json", "bogus", vm=at)
        assert (bogus.code, bogus.json["failed"]) == (1, True)
        assert (await qmon("qmp", "-o", "json", "query-name", vm=at)).json == {"return": {"name": "lab"}}


async def test_what_there_is(qemu: Qemu) -> None:
    async with start_vm(qemu) as vm:
        at = vm.qmp[0]
        assert "user" in (await qmon("netdev", "types", vm=at)).out.split()
        types = (await qmon("netdev", "types", "-o", "json", vm=at)).json["types"]
        assert {"user", "tap", "socket"} <= set(types)
        options = (await qmon("netdev", "options", "user", "-o", "json", vm=at)).json["options"]
        assert {"name": "id", "type": "text", "required": True} in options
        unknown = await qmon("netdev", "options", "usr", vm=at)
        assert (unknown.code, "did you mean 'user'" in unknown.err) == (2, True)
        models = (await qmon("nic", "models", "-o", "json", vm=at)).json["models"]
        assert {"name": "e1000", "bus": "PCI"} in models
        described = (await qmon("nic", "options", "virtio-net-pci", "-o", "json", vm=at)).json["options"]
        (mq,) = (one for one in described if one["name"] == "mq")
        assert (mq["type"], mq["default"]) == ("on|off", "off")
        assert (await qmon("nic", "ls", vm=at)).err == "This VM has no NIC.\n"
        assert (await qmon("netdev", "ls", vm=at)).err == "This VM has no netdev.\n"
        assert (await qmon("forward", "ls", vm=at)).err == "This VM forwards no port.\n"
        nobody = await qmon("forward", "add", "0:80", vm=at)
        assert (nobody.code, "no user-mode network" in nobody.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("netdev", "add", "usr,id=x"), "did you mean 'user'?"),
        (("netdev", "add", "user"), "needs an id"),
        (("nic", "add", "e1000,vectors=1"), "has no option 'vectors'"),
        (("nic", "add", "e1001,id=x"), "did you mean 'e1000'?"),
        (("nic", "add", "virtio-blk-pci,id=x"), "is not a NIC"),
        (("plug", "user,id=u1", "--nic", "e1000,netdev=u7"), "plugged into u7"),
        (("plug", "user,id=u1"), "--nic"),
        (("unplug", "nic1", "--timeout", "0"), "--timeout"),
        (("forward", "rm", "no"), "is not a forward"),
    ],
)
async def test_wrong_words(words: tuple[str, ...], complaint: str, qemu_one: Qemu) -> None:
    async with start_vm(qemu_one) as vm:
        done = await qmon(*words, vm=vm.qmp[0])
        assert (done.code, done.out) == (2, "")
        assert complaint in done.err
        assert await vm.hmp_raw("info network") == ""


async def test_the_monitor_itself(qemu: Qemu) -> None:
    async with start_vm(qemu, *VM) as vm:
        at = vm.qmp[0]
        said = await qmon("hmp", "info", "name", vm=at)
        assert (said.code, said.out, said.err) == (0, "lab\n", "")
        bogus = await qmon("hmp", "bogus", vm=at)
        assert (bogus.code, bogus.out, "unknown command: 'bogus'" in bogus.err) == (1, "", True)
        assert (await qmon("hmp", "info network extra", vm=at)).code == 1
        assert (await qmon("hmp", "info", "registers", "-a", vm=at)).code == 0
        status = await qmon("qmp", "query-status", vm=at)
        assert json.loads(status.out)["status"] == "running"
        link = await qmon("qmp", "set_link", "name=nic1", "up=false", vm=at)
        assert (link.code, json.loads(link.out)) == (0, {})
        assert (await qmon("qmp", "qom-get", '{"path": "/machine", "property": "type"}', vm=at)).code == 0
        for dangerous in (("hmp", "quit"), ("qmp", "system_reset"), ("qmp", "qom-list-types")):
            asked = await qmon(*dangerous, vm=at)
            assert (asked.code, asked.out, "--force" in asked.err) == (1, "", True)
        assert (await qmon("hmp", "--force", "stop", vm=at)).code == 0
        assert json.loads((await qmon("qmp", "query-status", vm=at)).out)["status"] == "paused"
        refused = await qmon("qmp", "netdev_del", "id=nothing", vm=at)
        assert (refused.code, "not found" in refused.err) == (1, True)
        assert (await qmon("qmp", "netdev_del", "{", vm=at)).code == 2
        assert (await qmon("qmp", "netdev_del", "id", vm=at)).code == 2


async def test_that_a_waiting_vm_is_started_is_said(qemu_one: Qemu) -> None:
    waits = ("-qmp", "unix:{directory}/w.qmp,server=on,wait=on")
    async with start_vm(qemu_one, *waits, monitors=0, lab_monitor=False) as vm:
        monitor = str(vm.directory / "w.qmp")
        while not Path(monitor).exists():  # noqa: ASYNC110  (a file wakes nobody)
            await asyncio.sleep(0)
        first = await qmon("info", "network", vm=monitor)
        again = await qmon("info", "network", vm=monitor)
    assert (first.code, again.code) == (0, 0)
    assert "attaching starts it" in first.err
    assert "attaching starts it" not in again.err
