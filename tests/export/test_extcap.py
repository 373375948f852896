"""The sentences Wireshark is answered with."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmon.errors import CannotAttach
from qmon.export.extcap import choices, chosen, interfaces, joined, link_types, options
from qmon.export.extcap_vms import ListedVm, command_line_netdevs
from qmon.monitor.discovery import Vm

# What Wireshark's parser accepts as a sentence (extcap_parser.c): a word, then {name=value} without braces in it.
SENTENCE = re.compile(r"(extcap|interface|dlt|arg|value) (\{[a-z]+=[^{}\n]*\})+")


def listed(
    name: str | None, pid: int = 7, netdevs: Sequence[tuple[str, str]] = (("u1", "user"),)
) -> ListedVm:
    return ListedVm(Vm(pid, 1, name, "pc", "qemu-system-x86_64", 0, (), ()), tuple(netdevs))


def names(*vms: ListedVm) -> list[str]:
    return [choice.name for choice in choices(vms)]


def test_an_interface_is_named_after_vm_and_netdev() -> None:
    assert names(listed("web", netdevs=[("u1", "user, e1000"), ("lan", "tap")])) == [
        "qmon-web-u1",
        "qmon-web-lan",
    ]
    assert (
        choices([listed("web", netdevs=[("u1", "user, e1000")])])[0].display
        == "u1 of the VM web (user, e1000)"
    )


def test_vms_without_a_usable_name_go_by_their_pid() -> None:
    assert names(listed(None, 5)) == ["qmon-pid5-u1"]
    assert names(listed("two words", 5)) == ["qmon-pid5-u1"]
    assert names(listed("same", 5), listed("same", 6), listed("other", 8)) == [
        "qmon-pid5-u1",
        "qmon-pid6-u1",
        "qmon-other-u1",
    ]


def test_one_interface_is_always_there() -> None:
    sentences = list(interfaces([]))
    assert sentences[0].startswith("extcap {version=")
    assert [s for s in sentences if s.startswith("interface {value=qmon}")]
    assert len(sentences) == 2


def test_the_link_type_is_ethernet() -> None:
    assert joined(link_types()) == "dlt {number=1}{name=EN10MB}{display=Ethernet}\n"


@pytest.mark.parametrize(
    ("interface", "calls"),
    [
        ("qmon", ["--vm", "--netdev", "--filter", "--snaplen", "--direction", "--limit"]),
        ("qmon-web-u1", ["--vm", "--filter", "--snaplen", "--direction", "--limit"]),
    ],
)
def test_the_dialog_asks_for(interface: str, calls: list[str]) -> None:
    sentences = list(options([listed("web")], interface))
    arguments = [sentence for sentence in sentences if sentence.startswith("arg ")]
    assert [re.search(r"\{call=([^}]*)\}", one)[1] for one in arguments] == calls  # type: ignore[index]
    assert [f"{{number={n}}}" in one for n, one in enumerate(arguments)] == [True] * len(calls)
    assert "value {arg=0}{value=web}{display=web (pid 7)}" in sentences


@given(
    st.lists(
        st.tuples(st.none() | st.text(), st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=3)),
        max_size=4,
    )
)
def test_no_name_breaks_a_sentence(vms: list[tuple[str | None, list[tuple[str, str]]]]) -> None:
    found = [listed(name, number, netdevs) for number, (name, netdevs) in enumerate(vms)]
    sentences = [*interfaces(found), *options(found, "qmon"), *options(found, "qmon-web-u1")]
    assert all(SENTENCE.fullmatch(sentence) for sentence in sentences)


def test_what_an_interface_means() -> None:
    vms = [listed("web", 7), listed("db", 8)]
    assert chosen(vms, "qmon-web-u1", "own") == (7, "u1")
    assert chosen(vms, "qmon-web-u1", "db") == (8, "u1")
    assert chosen(vms, "qmon", "own") == (None, None)
    assert chosen(vms, "qmon", "db") == (8, None)


@pytest.mark.parametrize(
    ("interface", "vm"), [("qmon-gone-u1", "own"), ("qmon-web-u1", "gone"), ("qmon", "pid:9")]
)
def test_what_is_gone_is_said(interface: str, vm: str) -> None:
    with pytest.raises(CannotAttach) as caught:
        chosen([listed("web")], interface, vm)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("qemu", "-netdev", "user,id=u1,net=10.0.0.0/8"), [("u1", "user")]),
        (("qemu", "--netdev", "type=user,id=u1"), [("u1", "user")]),
        (("qemu", "-nic", "tap,model=e1000,id=n,ifname=t"), [("n", "tap")]),
        (("qemu", "-nic", "user,model=e1000"), []),
        (("qemu", "-netdev", '{"type":"user","id":"j"}'), [("j", "user")]),
        (("qemu", "-netdev", '{"type":'), []),
        (("qemu", "-netdev", "[1]"), []),
        (("qemu", "-device", "e1000,id=d,netdev=u1"), []),
        (("qemu", "-netdev"), []),
        ((), []),
    ],
)
def test_netdevs_of_a_command_line(argv: tuple[str, ...], expected: list[tuple[str, str]]) -> None:
    assert list(command_line_netdevs(argv)) == expected
