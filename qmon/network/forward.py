"""Host forwards of a running VM: list, add, remove.

Owns the two HMP commands behind it (net/slirp.c) and the judgement of their replies, for HMP knows no errors.
Must never report a forward that QEMU did not confirm by listing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmon.errors import QmonError, Refused, UsageError
from qmon.monitor import commands
from qmon.monitor.commands import Command
from qmon.monitor.hmp import UsernetStack
from qmon.network import inspect
from qmon.network.listeners import holder
from qmon.network.model import Forward
from qmon.network.rule import EVERY_HOST, Key, Rule, parse_keys, parse_rules
from qmon.network.steps import to_the_end
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.protocol import Monitor


async def list_forwards(session: Monitor) -> tuple[Forward, ...]:
    """Return the VM's host forwards."""
    return inspect.forwards(await inspect.usernet(session))


async def plan_add_forwards(session: Monitor, spec: str, *, netdev: str | None = None) -> tuple[Command, ...]:
    """Return what `add_forwards` will send."""
    rules = parse_rules(spec)
    chosen = _chosen(await inspect.usernet(session), netdev)
    return tuple(_adding(chosen, rule) for rule in rules)


async def add_forwards(session: Monitor, spec: str, *, netdev: str | None = None) -> tuple[Forward, ...]:
    """Forward ports of the host, all or none; return them as QEMU lists them, with what the kernel chose for port 0."""
    rules = parse_rules(spec)
    stacks = await inspect.usernet(session)
    chosen = _chosen(stacks, netdev)
    before = inspect.forwards(stacks)
    for rule in rules:
        _check_free(rule, before)
    return await to_the_end(_add(session, chosen, rules, before))


async def _add(
    session: Monitor, netdev: str, rules: tuple[Rule, ...], before: tuple[Forward, ...]
) -> tuple[Forward, ...]:
    sent: list[Rule] = []
    try:
        for rule in rules:
            reply = str(await _adding(netdev, rule).send(session)).strip()
            if reply:
                raise await _refused(session, rule, reply)
            sent.append(rule)
        known = frozenset(before)
        listed = [one for one in await list_forwards(session) if one not in known and one.netdev == netdev]
        return tuple(_made(rule, listed) for rule in rules)
    except QmonError as problem:
        await _take_back(session, netdev, sent, problem)
        raise


def _made(rule: Rule, listed: list[Forward]) -> Forward:
    made = next((one for one in listed if _is_of(rule, one)), None)
    if made is None:
        raise Refused(f"QEMU took the forward {rule}, but does not list it", hint="qmon info usernet --raw")
    return made


async def _take_back(session: Monitor, netdev: str, rules: list[Rule], problem: QmonError) -> None:
    """Remove forwards that were made before one that was not; `problem` is told which are left."""
    left = []
    for rule in rules:
        try:
            gone = str(await commands.hostfwd_remove(netdev, str(rule.key)).send(session)).strip()
        except QmonError:
            gone = ""
        if not gone.endswith(" removed"):
            left.append(str(rule.key))
    if left:
        problem.message = f"{problem.message}; and these were left behind: {', '.join(left)}"


def _check_free(rule: Rule, forwards: tuple[Forward, ...]) -> None:
    taken = next((one for one in forwards if rule.key.matches(one)), None)
    if taken is not None and rule.key.host_port:
        raise Refused(
            f"{rule.key} is forwarded already, to {_guest_end(taken)} by {plain(taken.netdev)}",
            hint=f"qmon forward rm {rule.key}",
        )


async def plan_remove_forwards(
    session: Monitor, spec: str, *, netdev: str | None = None
) -> tuple[Command, ...]:
    """Return what `remove_forwards` will send."""
    keys = parse_keys(spec)
    stacks = await inspect.usernet(session)
    return tuple(_removing(_existing(stacks, key, netdev), key) for key in keys)


async def remove_forwards(session: Monitor, spec: str, *, netdev: str | None = None) -> tuple[Forward, ...]:
    """Remove forwards and return them; connections made through them go on until they end.

    Nothing is removed unless all are there.
    """
    keys = parse_keys(spec)
    stacks = await inspect.usernet(session)
    found = [(key, _existing(stacks, key, netdev)) for key in keys]
    for key, forward in found:
        reply = str(await _removing(forward, key).send(session)).strip()
        if not reply.endswith(" removed"):
            raise Refused(f"QEMU did not remove {key}: {plain(reply) or 'it does not say why'}", reason=reply)
    return tuple(forward for _, forward in found)


def _adding(netdev: str, rule: Rule) -> Command:
    return commands.hostfwd_add(netdev, str(rule))


def _removing(forward: Forward, key: Key) -> Command:
    return commands.hostfwd_remove(forward.netdev, str(key))


def _chosen(stacks: tuple[UsernetStack, ...], netdev: str | None) -> str:
    names = [stack.netdev for stack in stacks if stack.netdev]
    if not names:
        raise Refused(
            "this VM has no user-mode network, and only that can forward ports",
            hint="qmon plug user,id=net2 --nic virtio-net-pci,id=nic2 adds one",
        )
    if netdev is None:
        if len(names) > 1:
            raise UsageError(
                "this VM has several user netdevs: " + ", ".join(map(plain, names)),
                hint="say which with --netdev ID",
            )
        return names[0]
    if netdev not in names:
        raise Refused(
            f"'{plain(netdev)}' is not a user netdev of this VM",
            hint="it has: " + ", ".join(map(plain, names)),
        )
    return netdev


def _existing(stacks: tuple[UsernetStack, ...], key: Key, netdev: str | None) -> Forward:
    if netdev is not None:
        _chosen(stacks, netdev)
    listed = [one for one in inspect.forwards(stacks) if netdev is None or one.netdev == netdev]
    found = [one for one in listed if key.matches(one)]
    if not found:
        there = ", ".join(f"{one.protocol}:{one.host_address}:{one.host_port}" for one in listed)
        raise Refused(
            f"there is no forward {key}",
            hint=f"there are: {plain(there)}" if there else "there is none at all",
        )
    return found[0]


def _is_of(rule: Rule, forward: Forward) -> bool:
    if rule.key.host_port:
        return rule.key.matches(forward)
    return (rule.key.protocol, rule.guest_port) == (forward.protocol, forward.guest_port)


async def _refused(session: Monitor, rule: Rule, reply: str) -> Refused:
    hint = None
    if reply.startswith("Could not set up"):
        hint = await _why_taken(session, rule)
    elif reply.startswith("unknown command"):
        hint = "This QEMU was built without user networking or without the human monitor."
    return Refused(f"QEMU refused the forward {rule}: {plain(reply)}", hint=hint, reason=reply)


async def _why_taken(session: Monitor, rule: Rule) -> str:
    key = rule.key
    who = None
    if session.is_local:
        who = await holder(key.protocol, key.host.strip("[]"), key.host_port, vm_pid=session.peer_pid)
    if who is not None:
        return f"Port {key.host_port} of {key.host} is taken by {who}."
    hint = f"Is port {key.host_port} taken on {key.host} (ss -ltnup), or not this host's address?"
    return hint + (" A port below 1024 needs a QEMU with root's rights." if 0 < key.host_port < 1024 else "")


def _guest_end(forward: Forward) -> str:
    return f"{plain(forward.guest_address)}:{forward.guest_port}"


def open_warnings(forwards: tuple[Forward, ...]) -> tuple[str, ...]:
    """Warn of forwards that everybody who reaches the host can use."""
    return tuple(
        f"{one.protocol} port {one.host_port} listens on every address of the host: whoever reaches the host reaches "
        f"the guest's port {one.guest_port}; 127.0.0.1:{one.host_port} would keep it to the host itself"
        for one in forwards
        if one.host_address in ("*", EVERY_HOST, "::")
    )
