"""A QEMU command line read for what qmon wants to know: the VM's name, machine, monitors and networks. Pure.

Owns QEMU's option syntax as far as these go (qemu-options.hx, `-qmp` to `-readconfig`). Must never open
anything: whoever calls hands in the text of `-readconfig` files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_QEMU = re.compile(r"\.?(qemu-system-.+|qemu-kvm|qemu|kvm)")
_EMULATOR = re.compile(r"\.?(qemu-system-.+|qemu-kvm)")
_LOADER = re.compile(r"ld-linux.*|ld-musl.*|ld64?\.so.*")
_SECTION = re.compile(r'\[\s*([\w-]+)(?:\s+"([^"]*)")?\s*\]')
_ASSIGNMENT = re.compile(r'([\w.-]+)\s*=\s*"([^"]*)"')
_TELLING = frozenset(
    {"qmp", "qmp-pretty", "mon", "monitor", "machine", "M", "netdev", "nic", "device", "accel", "chardev"}
    | {
        "display",
        "nographic",
        "nodefaults",
        "drive",
        "hda",
        "cdrom",
        "kernel",
        "m",
        "smp",
        "cpu",
        "enable-kvm",
    }
)
_SOCKET_SCHEMES = ("unix", "tcp", "telnet", "tn3270", "websocket")
_ON = frozenset({"on", "yes", "true"})
# Of more files than this the rest is left unread: who names so many is up to no good.
_FILES_LIMIT = 8


@dataclass(frozen=True, slots=True)
class Chardev:
    """Where a monitor listens, as the command line says it; `path`, `fd` or `host` and `port`, or none of them.

    `listens` is False for a socket that QEMU connects to, `waits` is True where the VM starts only when the
    first client has come. The name of a `padded` abstract socket fills its address with NULs (tight=off); a
    `shared` device has other users beside the monitor (mux=on).
    """

    backend: str
    path: str | None = None
    abstract: bool = False
    padded: bool = False
    shared: bool = False
    host: str | None = None
    port: str | None = None
    fd: str | None = None
    listens: bool = False
    waits: bool = False
    plain: bool = True


@dataclass(frozen=True, slots=True)
class MonitorOption:
    """One monitor of a VM: `protocol` is ``qmp`` or ``hmp``."""

    protocol: str
    chardev: Chardev


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What a QEMU was started with; `networks` are the options of its netdevs, with `type`, and `id` if they have one.

    A QEMU that is told of no network has one of its own; it is among them, whether `-nodefaults` forbids it or not.
    `unread` are the `-readconfig` files whose content is not known.
    """

    name: str | None
    machine: str | None
    monitors: tuple[MonitorOption, ...]
    networks: tuple[Mapping[str, str], ...]
    unread: tuple[str, ...] = ()


@dataclass
class _Collected:
    name: str | None = None
    machine: str | None = None
    chardevs: dict[str, Chardev] = field(default_factory=dict)
    monitors: list[tuple[str, Chardev | str]] = field(default_factory=list)
    networks: list[dict[str, str]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    has_default_network: bool = True


def is_qemu(executable: str, argv: Sequence[str]) -> bool:
    """Tell whether a process with this executable (a path) and these words is a QEMU system emulator."""
    name = _basename(executable)
    if _QEMU.fullmatch(name):
        return not name.startswith("qemu-system-") or len(argv) > 0
    return bool(_LOADER.fullmatch(name)) and _loaded(argv) is not None


def speaks_as_qemu(argv: Sequence[str]) -> bool:
    """Tell whether the words look like a QEMU's own rather than a wrapper's, whatever the program is called."""
    words = argv[1:]
    telling = {word.lstrip("-") for word in words if word.startswith("-")} & _TELLING
    return len(telling) > 1 and not any(_EMULATOR.fullmatch(_basename(word)) for word in words)


def _loaded(argv: Sequence[str]) -> int | None:
    """Return where in the words of a dynamic loader the program is that it runs, if that is a QEMU."""
    for index, word in enumerate(argv[1:], start=1):
        if not word.startswith("-") and _QEMU.fullmatch(_basename(word)):
            return index
        if _basename(word).startswith("qemu-"):
            return None
    return None


def binary(executable: str, argv: Sequence[str]) -> str:
    """Return the name of the emulator, seen through a dynamic loader."""
    name = _basename(executable)
    if _LOADER.fullmatch(name) and (index := _loaded(argv)) is not None:
        return _basename(argv[index])
    return name


def parse(argv: Sequence[str], read_config: Callable[[str], str | None]) -> CommandLine:
    """Read a command line; `read_config` returns a file's text, or None where it cannot be read."""
    found, files = _Collected(), 0
    for option, value in _options(argv):
        handler = _HANDLERS.get(option)
        if option == "readconfig":
            files += 1
            text = read_config(value) if files <= _FILES_LIMIT else None
            if text is None:
                found.unread.append(value)
            else:
                _configuration(text, found)
        elif handler is not None:
            handler(value, found)
    monitors = []
    for protocol, place in found.monitors:
        chardev = found.chardevs.get(place, Chardev("missing")) if isinstance(place, str) else place
        monitors.append(MonitorOption(protocol, chardev))
    default = ({"type": "user"},) if found.has_default_network else ()
    networks = (*found.networks, *default)
    return CommandLine(found.name, found.machine, tuple(monitors), networks, tuple(found.unread))


def _options(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    words = iter(argv[(_loaded(argv) or 0) + 1 :])
    for word in words:
        if word.startswith("-") and (option := word.lstrip("-")) in _WITH_VALUE:
            value = next(words, None)
            if value is not None:
                yield option, value


def split_options(text: str, first: str) -> dict[str, str]:
    """Split QEMU's ``value,key=value,…`` where ``,,`` stands for a comma; a bare first word is `first`'s value.

    Other bare words are switches: ``server`` means on, ``nowait`` means wait=off (QemuOpts).
    """
    if text.lstrip().startswith("{"):
        return _json_options(text)
    options: dict[str, str] = {}
    for index, part in enumerate(_split_commas(text)):
        key, equals, value = part.partition("=")
        if equals:
            options[key] = value
        elif index == 0:
            options[first] = part
        elif part.startswith("no"):
            options[part[2:]] = "off"
        elif part:
            options[part] = "on"
    return options


def _split_commas(text: str) -> list[str]:
    return [part.replace("\0", ",") for part in text.replace(",,", "\0").split(",")]


def _json_options(text: str) -> dict[str, str]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    flat = {key: value for key, value in content.items() if isinstance(value, str | int | bool)}
    return {
        key: ("on" if value else "off") if isinstance(value, bool) else str(value)
        for key, value in flat.items()
    }


def _chardev(options: Mapping[str, str]) -> Chardev:
    backend = options.get("backend", options.get("qom-type", ""))
    listens = options.get("server", "off") in _ON
    return Chardev(
        backend=backend,
        path=options.get("path"),
        abstract=options.get("abstract", "off") in _ON,
        padded=options.get("tight", "on") not in _ON,
        shared=options.get("mux", "off") in _ON,
        host=options.get("host"),
        port=options.get("port"),
        fd=options.get("fd"),
        listens=listens,
        waits=listens and options.get("wait", "on") in _ON,
        plain=not any(options.get(key, "off") in _ON for key in ("telnet", "tn3270", "websocket"))
        and "tls-creds" not in options,
    )


def _legacy(value: str) -> Chardev | str:
    """Read the device of `-qmp` and `-monitor`: ``unix:PATH,server=on``, ``tcp:HOST:PORT,…``, ``chardev:ID``."""
    scheme, _, rest = value.partition(":")
    if scheme == "chardev":
        return rest
    if scheme not in _SOCKET_SCHEMES:
        return Chardev(scheme.partition(",")[0])
    options = {"backend": "socket", **split_options(rest, "place")}
    place = options.pop("place", "")
    if scheme == "unix":
        options.setdefault("path", place)
    else:
        host, _, port = place.rpartition(":")
        options |= {"host": host.strip("[]"), "port": port}
        if scheme != "tcp":
            options[scheme] = "on"
    return _chardev(options)


def _on_chardev(value: str, found: _Collected) -> None:
    options = split_options(value, "backend")
    if "id" in options:
        found.chardevs[options["id"]] = _chardev(options)


def _on_mon(value: str, found: _Collected) -> None:
    options = split_options(value, "chardev")
    protocol = "qmp" if options.get("mode") == "control" else "hmp"
    found.monitors.append((protocol, options.get("chardev", "")))


def _on_object(value: str, found: _Collected) -> None:
    options = split_options(value, "qom-type")
    protocol = {"monitor-qmp": "qmp", "monitor-hmp": "hmp"}.get(options.get("qom-type", ""))
    if protocol:
        found.monitors.append((protocol, options.get("chardev", "")))


def _on_qmp(value: str, found: _Collected) -> None:
    found.monitors.append(("qmp", _legacy(value)))


def _on_monitor(value: str, found: _Collected) -> None:
    if value == "none":
        return
    found.monitors.append(("hmp", _legacy(value)))


def _on_name(value: str, found: _Collected) -> None:
    found.name = split_options(value, "guest").get("guest", found.name)


def _on_machine(value: str, found: _Collected) -> None:
    found.machine = split_options(value, "type").get("type", found.machine)


def _on_network(value: str, found: _Collected) -> None:
    found.networks.append(split_options(value, "type"))
    found.has_default_network = False


_HANDLERS: dict[str, Callable[[str, _Collected], None]] = {
    "chardev": _on_chardev,
    "mon": _on_mon,
    "object": _on_object,
    "qmp": _on_qmp,
    "qmp-pretty": _on_qmp,
    "monitor": _on_monitor,
    "name": _on_name,
    "machine": _on_machine,
    "M": _on_machine,
    "netdev": _on_network,
    "nic": _on_network,
    "net": _on_network,
}
_WITH_VALUE = frozenset({*_HANDLERS, "readconfig"})


def _configuration(text: str, found: _Collected) -> None:
    """Read a `-readconfig` file: ``[chardev "id"]`` sections of ``key = "value"`` lines (qemu-config.c)."""
    section: str = ""
    options: dict[str, str] = {}

    def finish() -> None:
        if section == "chardev" and "id" in options:
            found.chardevs[options["id"]] = _chardev(options)
        elif section == "mon":
            protocol = "qmp" if options.get("mode") == "control" else "hmp"
            found.monitors.append((protocol, options.get("chardev", "")))
        elif section == "object" and options.get("qom-type", "") in ("monitor-qmp", "monitor-hmp"):
            found.monitors.append((options["qom-type"].removeprefix("monitor-"), options.get("chardev", "")))
        elif section in ("netdev", "nic", "net"):
            found.networks.append(dict(options))
        elif section == "name":
            found.name = options.get("guest", found.name)
        elif section == "machine":
            found.machine = options.get("type", found.machine)

    for line in text.splitlines():
        if match := _SECTION.match(line.strip()):
            finish()
            section, options = match[1], {"id": match[2]} if match[2] is not None else {}
        elif match := _ASSIGNMENT.match(line.strip()):
            options[match[1]] = match[2]
    finish()


def _basename(path: str) -> str:
    return path.removesuffix(" (deleted)").rpartition("/")[2]
