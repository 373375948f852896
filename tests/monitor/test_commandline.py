"""QEMU's own command line, in the spellings people and libvirt use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmon.monitor.commandline import Chardev, CommandLine, binary, is_qemu, parse

QEMU = "/usr/bin/qemu-system-x86_64"


def read(*words: str, files: dict[str, str] | None = None) -> CommandLine:
    return parse(("qemu-system-x86_64", *words), (files or {}).get)


def only(line: CommandLine) -> tuple[str, Chardev]:
    (monitor,) = line.monitors
    return monitor.protocol, monitor.chardev


LISTENING = Chardev("socket", path="/m.sock", listens=True, waits=False)


@pytest.mark.parametrize(
    "words",
    [
        ("-qmp", "unix:/m.sock,server=on,wait=off"),
        ("-qmp", "unix:/m.sock,server,nowait"),
        ("--qmp", "unix:/m.sock,server=yes,wait=no"),
        ("-qmp-pretty", "unix:/m.sock,server=on,wait=off"),
        ("-chardev", "socket,id=c,path=/m.sock,server=on,wait=off", "-mon", "chardev=c,mode=control"),
        ("-mon", "c,mode=control,pretty=on", "-chardev", "socket,path=/m.sock,server,nowait,id=c"),
        ("-chardev", "socket,id=c,path=/m.sock,server=on,wait=off", "-qmp", "chardev:c"),
        ("-chardev", "socket,id=c,path=/m.sock,server=on,wait=off", "-object", "monitor-qmp,id=m,chardev=c"),
        (
            *("-chardev", "socket,id=c,path=/m.sock,server=on,wait=off"),
            *("-object", '{"qom-type": "monitor-qmp", "id": "m", "chardev": "c"}'),
        ),
    ],
)
def test_the_same_monitor_in_many_spellings(words: tuple[str, ...]) -> None:
    assert only(read(*words)) == ("qmp", LISTENING)


@pytest.mark.parametrize(
    ("words", "protocol", "chardev"),
    [
        (
            ("-qmp", "unix:/m.sock,server=on"),
            "qmp",
            Chardev("socket", path="/m.sock", listens=True, waits=True),
        ),
        (("-qmp", "unix:/m.sock"), "qmp", Chardev("socket", path="/m.sock")),
        (("-qmp", "unix:a,,b,server=on,wait=off"), "qmp", Chardev("socket", path="a,b", listens=True)),
        (
            ("-qmp", "tcp:localhost:4444,server=on,wait=off"),
            "qmp",
            Chardev("socket", host="localhost", port="4444", listens=True),
        ),
        (("-qmp", "tcp::4444,server,nowait"), "qmp", Chardev("socket", host="", port="4444", listens=True)),
        (
            ("-qmp", "tcp:[::1]:4444,server,nowait"),
            "qmp",
            Chardev("socket", host="::1", port="4444", listens=True),
        ),
        (("-monitor", "stdio"), "hmp", Chardev("stdio")),
        (
            ("-monitor", "telnet:127.0.0.1:5555,server,nowait"),
            "hmp",
            Chardev("socket", host="127.0.0.1", port="5555", listens=True, plain=False),
        ),
        (("-mon", "chardev=gone,mode=readline"), "hmp", Chardev("missing")),
        (
            ("-chardev", "socket,id=c,fd=22,server=on,wait=off", "-mon", "chardev=c,id=monitor,mode=control"),
            "qmp",
            Chardev("socket", fd="22", listens=True),
        ),
        (
            ("-chardev", "socket,id=c,abstract=on,path=vm,server=on,wait=off", "-mon", "c,mode=control"),
            "qmp",
            Chardev("socket", path="vm", abstract=True, listens=True),
        ),
    ],
)
def test_kinds_of_monitors(words: tuple[str, ...], protocol: str, chardev: Chardev) -> None:
    assert only(read(*words)) == (protocol, chardev)


def test_names_and_machines() -> None:
    assert read("-name", "web").name == "web"
    assert read("-name", "guest=web,debug-threads=on").name == "web"
    assert read("-name", "a,,b").name == "a,b"
    assert read("-M", "q35").machine == "q35"
    assert read("-machine", "type=pc,accel=tcg").machine == "pc"
    assert read("-machine", "accel=tcg").machine is None


def test_a_value_that_looks_like_an_option_is_a_value() -> None:
    assert read("-name", "-qmp", "-M", "pc") == CommandLine("-qmp", "pc", (), ({"type": "user"},))


def test_networks() -> None:
    """In each spelling; and QEMU's own where none is told of."""
    assert read("-M", "pc").networks == ({"type": "user"},)
    words = ("-netdev", "user,id=u1,host=10.0.2.9,hostfwd=tcp::1-:1", "-nic", "none", "-net", "user")
    assert read(*words).networks == (
        {"type": "user", "id": "u1", "host": "10.0.2.9", "hostfwd": "tcp::1-:1"},
        {"type": "none"},
        {"type": "user"},
    )
    assert read("-netdev", '{"type": "user", "id": "u1", "ipv6": false}').networks == (
        {"type": "user", "id": "u1", "ipv6": "off"},
    )
    filed = '[netdev "u1"]\n  type = "user"\n  dns = "10.0.2.9"\n'
    assert read("-readconfig", "f", files={"f": filed}).networks[0] == {
        "id": "u1",
        "type": "user",
        "dns": "10.0.2.9",
    }


def test_configuration_files() -> None:
    text = """
        # made by hand
        [chardev "c"]
          backend = "socket"
          path = "/m.sock"
          server = "on"
          wait = "off"
        [mon "m"]
          mode = "control"
          chardev = "c"
        [name]
          guest = "filed"
        [machine]
          type = "q35"
    """
    line = read("-readconfig", "vm.cfg", files={"vm.cfg": text})
    assert only(line) == ("qmp", LISTENING)
    assert (line.name, line.machine) == ("filed", "q35")
    assert read("-readconfig", "unreadable.cfg").monitors == ()


@pytest.mark.parametrize(
    ("executable", "argv", "expected"),
    [
        (QEMU, ("qemu-system-x86_64", "-m", "64"), True),
        (f"{QEMU} (deleted)", ("qemu-system-x86_64",), True),
        ("/usr/libexec/qemu-kvm", ("/usr/libexec/qemu-kvm",), True),
        ("/usr/bin/kvm", ("kvm",), True),
        ("/nix/store/x/bin/.qemu-system-aarch64-wrapped", ("qemu-system-aarch64",), True),
        (
            "/lib64/ld-linux-x86-64.so.2",
            ("ld-linux-x86-64.so.2", "--library-path", "/l", "/x/qemu-system-x86_64"),
            True,
        ),
        ("/lib64/ld-linux-x86-64.so.2", ("ld-linux-x86-64.so.2", "/bin/sh", "-c", "true"), False),
        ("/usr/bin/sudo", ("sudo", "qemu-system-x86_64", "-m", "64"), False),
        ("/usr/bin/timeout", ("timeout", "10", "qemu-system-x86_64"), False),
        ("/bin/dash", ("sh", "-c", "qemu-system-x86_64 -m 64"), False),
        ("/usr/bin/python3.11", ("python3", "/usr/bin/qmon", "run", "--", "qemu-system-x86_64"), False),
        ("/usr/bin/qemu-img", ("qemu-img", "create"), False),
        ("/usr/bin/qemu-x86_64-static", ("qemu-x86_64-static", "/bin/true"), False),
    ],
)
def test_what_is_a_qemu(executable: str, argv: tuple[str, ...], expected: bool) -> None:
    assert is_qemu(executable, argv) is expected


def test_the_binary_behind_a_loader() -> None:
    assert binary(
        "/lib/ld-linux-x86-64.so.2", ("ld-linux", "--library-path", "/l", "/x/qemu-system-arm")
    ) == ("qemu-system-arm")


def test_options_behind_a_loader() -> None:
    line = parse(("ld-linux-x86-64.so.2", "--library-path", "/l", QEMU, "-name", "x"), lambda _: None)
    assert line.name == "x"


words = st.lists(
    st.one_of(
        st.text(),
        st.sampled_from(
            ["-qmp", "-mon", "-chardev", "-object", "-name", "-readconfig", "--machine", "-monitor"]
        ),
        st.from_regex(r"(socket|unix:|tcp:)?([a-z]*=?[^,]{0,5},){0,4}", fullmatch=True),
    )
)


@given(words, st.text())
def test_any_words_are_read(argv: list[str], file: str) -> None:
    parse(argv, lambda _: file)


def test_no_monitor_is_no_human_monitor() -> None:
    assert parse(["qemu-system-x86_64", "-nodefaults", "-monitor", "none"], lambda _: None).monitors == ()


@given(st.lists(st.text() | st.sampled_from(["-qmp", "-mon", "-chardev", "-object", "-name", "-readconfig"])))
def test_arbitrary_command_lines_are_read_without_harm(words: list[str]) -> None:
    parse(["qemu-system-x86_64", *words], lambda path: path)


def test_a_nest_too_deep_to_be_read_is_no_monitor() -> None:
    nest = '{"a":' * 99999
    assert (
        only(read("-object", nest, "-chardev", nest, "-qmp", "unix:/m.sock,server=on,wait=off"))[0] == "qmp"
    )
