"""Loading scapy: only the layers we use, quickly, and without its side effects.

Imported plainly, scapy writes caches and folders into the user's home, parses Wireshark's list of vendors, and asks
the kernel for interfaces and routes: for a second or so, and none of it is any use here. So the modules that do it
have empty stand-ins while it is loaded. If a future scapy cannot live with that, it is loaded plainly.

The only importer of scapy. Must never let it print, and never let it use the network.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qmon.packets.dissect.recording import Recording, StandIn

_LAYERS = (
    "layers.l2",
    "layers.inet",
    "layers.inet6",
    "layers.dns",
    "layers.dhcp",
    "layers.dhcp6",
    "layers.tftp",
    "layers.ntp",
    "layers.llmnr",
    "layers.vxlan",
    "layers.ppp",
    "layers.eap",
    "layers.sctp",
    "layers.netbios",
    "layers.vrrp",
    "contrib.lldp",
    "contrib.mpls",
    "contrib.igmp",
)
# LINKTYPE_ numbers of tcpdump.org and where to find what dissects them.
_LINKS = {
    0: ("layers.l2", "Loopback"),
    1: ("layers.l2", "Ether"),
    9: ("layers.ppp", "HDLC"),
    50: ("layers.ppp", "HDLC"),
    108: ("layers.l2", "Loopback"),
    113: ("layers.l2", "CookedLinux"),
    228: ("layers.inet", "IP"),
    229: ("layers.inet6", "IPv6"),
    276: ("layers.l2", "CookedLinuxV2"),
}
_RAW_IP = frozenset({12, 14, 101})


class _Absent(types.ModuleType):
    """A module in which everything is there and gives nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing


def _nothing(*_: object, **__: object) -> list[object]:
    return []


class Library:
    """scapy, loaded."""

    def __init__(self) -> None:
        _load()
        self._packet = _module("packet")
        self.raw: Any = self._packet.Raw
        self.padding: Any = self._packet.Padding
        self._links = {
            number: getattr(_module(name), layer, None) for number, (name, layer) in _LINKS.items()
        }
        self._recording: Recording | None = None
        self._record_all()

    def dissect(self, data: bytes, link_type: int, recording: Recording) -> Any:
        """Return scapy's packet for some bytes, with everything noted in `recording`."""
        layer = self._layer(data, link_type)
        self._recording = recording
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return layer(data)
        except Exception:  # noqa: BLE001  scapy raises whatever comes to its mind on hostile bytes.
            return self.raw(data)
        finally:
            self._recording = None

    def _layer(self, data: bytes, link_type: int) -> Any:
        if link_type in _RAW_IP and data:
            link_type = 229 if data[0] >> 4 == 6 else 228
        return self._links.get(link_type) or self.raw

    def _record_all(self) -> None:
        """Let every packet class that dissects fields do so through stand-ins, while something is recorded."""
        for packet in _with_subclasses(self._packet.Packet):
            if "do_dissect" in vars(packet):
                packet.do_dissect = self._recorded(packet.do_dissect)

    def _recorded(self, original: Any) -> Any:
        @functools.wraps(original)
        def do_dissect(packet: Any, data: bytes) -> Any:
            recording = self._recording
            if recording is None or "fields_desc" in vars(packet):
                return original(packet, data)
            record = recording.begin(packet, data)
            packet.__dict__["fields_desc"] = [
                StandIn(field, record, recording) for field in type(packet).fields_desc
            ]
            try:
                return original(packet, data)
            finally:
                del packet.__dict__["fields_desc"]

        return do_dissect


def _with_subclasses(packet: Any) -> Iterator[Any]:
    yield packet
    for child in packet.__subclasses__():
        yield from _with_subclasses(child)


@functools.cache
def library() -> Library:
    """Return scapy, loading it the first time (some 0.2 s)."""
    return Library()


def _module(name: str) -> Any:
    return importlib.import_module(f"scapy.{name}")


def _load() -> None:
    logging.getLogger("scapy").setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "scapy.data" in sys.modules or not _load_without_side_effects():
            _load_layers()


def _load_without_side_effects() -> bool:
    with _stand_ins() as before:
        try:
            _load_data()
            configuration = _module("config").conf
            if getattr(configuration, "route", None) is None:
                configuration.route = configuration.route6 = _Absent("routes")
            _load_layers()
        except (ImportError, AttributeError, TypeError):
            for name in [name for name in sys.modules if name.partition(".")[0] == "scapy"]:
                if name not in before:
                    del sys.modules[name]
            return False
    return True


@contextmanager
def _stand_ins() -> Iterator[frozenset[str]]:
    """Give the modules with side effects stand-ins; those of scapy that were there before are handed out."""
    before = frozenset(sys.modules)
    absent: dict[str, dict[str, object]] = {
        "scapy.main": {"SCAPY_CACHE_FOLDER": None, "SCAPY_CONFIG_FOLDER": None},
        "scapy.arch": {"__path__": []},
        "scapy.libs.manuf": {"DATA": ""},
        "scapy.libs.bluetoothids": {"DATA": {}},
    }
    for name, content in absent.items():
        module = _Absent(name)
        vars(module).update(content)
        sys.modules[name] = module
    try:
        yield before
    finally:
        for name in absent:
            sys.modules.pop(name, None)


def _load_data() -> None:
    """Load scapy's tables of names, without the vendors of MAC addresses."""
    spec = importlib.util.find_spec("scapy.data")
    if spec is None or spec.loader is None:
        raise ImportError("scapy.data")
    module = importlib.util.module_from_spec(spec)
    vars(module)["open"] = _open_but_vendors
    sys.modules["scapy.data"] = module
    spec.loader.exec_module(module)


def _open_but_vendors(path: str, *arguments: Any, **named: Any) -> Any:
    if "manuf" in str(path):
        raise FileNotFoundError(path)
    return open(path, *arguments, **named)


def _load_layers() -> None:
    _module("layers.l2")
    for name in _LAYERS:
        # Layers come and go with scapy's versions; one that is not there is shown as data.
        try:
            _module(name)
        except ImportError:
            continue
