"""Host forwards of a running VM: list, add, remove.

Owns the two HMP commands behind it (net/slirp.c) and the judgement of their replies, for HMP knows no errors.
Must never report a forward that QEMU did not confirm by listing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmon.errors import Refused, UsageError
from qmon.monitor.hmp import UsernetStack
from qmon.network import inspect
from qmon.network.model import Forward
from qmon.network.rule import Key, Rule, parse_key, parse_rule
from qmon.network.steps import Step, spelt
from qmon.text import plain

if TYPE_CHECKING:
    from qmon.monitor.session import Session


async def list_forwards(session: Session) -> tuple[Forward, ...]:
    """Return the VM's host forwards."""
    return inspect.forwards(await inspect.usernet(session))


async def plan_add_forward(session: Session, spec: str, *, netdev: str | None = None) -> tuple[str, ...]:
    """Return what `add_forward` will send."""
    rule = parse_rule(spec)
    return spelt([_adding(_chosen(await inspect.usernet(session), netdev), rule)])


async def add_forward(session: Session, spec: str, *, netdev: str | None = None) -> Forward:
    """Forward a port of the host; return the forward as QEMU lists it, with the port the kernel chose for 0."""
    rule = parse_rule(spec)
    stacks = await inspect.usernet(session)
    chosen = _chosen(stacks, netdev)
    before = inspect.forwards(stacks)
    taken = next((one for one in before if rule.key.matches(one)), None)
    if taken is not None and rule.key.host_port:
        raise Refused(
            f"{rule.key} is forwarded already, to {_guest_end(taken)} by {plain(taken.netdev)}",
            hint=f"qmon forward rm {rule.key}",
        )
    reply = str(await _adding(chosen, rule).send(session)).strip()
    if reply:
        raise _refused(rule, reply)
    found = [one for one in await list_forwards(session) if one not in before and one.netdev == chosen]
    made = next((one for one in found if _is_of(rule, one)), None)
    if made is None:
        raise Refused(f"QEMU took the forward {rule}, but does not list it", hint="qmon info usernet --raw")
    return made


async def plan_remove_forward(session: Session, spec: str, *, netdev: str | None = None) -> tuple[str, ...]:
    """Return what `remove_forward` will send."""
    key = parse_key(spec)
    return spelt([_removing(_existing(await inspect.usernet(session), key, netdev), key)])


async def remove_forward(session: Session, spec: str, *, netdev: str | None = None) -> Forward:
    """Remove a forward and return it; connections made through it go on until they end."""
    key = parse_key(spec)
    forward = _existing(await inspect.usernet(session), key, netdev)
    reply = str(await _removing(forward, key).send(session)).strip()
    if not reply.endswith(" removed"):
        raise Refused(f"QEMU did not remove {key}: {plain(reply) or 'it does not say why'}", reason=reply)
    return forward


def _adding(netdev: str, rule: Rule) -> Step:
    return _line(f"hostfwd_add {netdev} {rule}")


def _removing(forward: Forward, key: Key) -> Step:
    return _line(f"hostfwd_remove {forward.netdev} {key}")


def _line(line: str) -> Step:
    return Step("human-monitor-command", {"command-line": line})


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


def _refused(rule: Rule, reply: str) -> Refused:
    hint = None
    if reply.startswith("Could not set up"):
        port = rule.key.host_port
        hint = f"Is port {port} taken on {rule.key.host} (ss -ltnup), or not this host's address?"
        if 0 < port < 1024:
            hint += " A port below 1024 needs a QEMU with root's rights."
    elif reply.startswith("unknown command"):
        hint = "This QEMU was built without user networking or without the human monitor."
    return Refused(f"QEMU refused the forward {rule}: {plain(reply)}", hint=hint, reason=reply)


def _guest_end(forward: Forward) -> str:
    return f"{plain(forward.guest_address)}:{forward.guest_port}"
