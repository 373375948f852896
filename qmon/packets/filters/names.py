"""Host names in capture filters, without asking the network for them.

libpcap looks host names up with the system's resolver, which may ask DNS servers and block for many seconds, at
each key typed into a filter. So names are found here before libpcap sees them: those in /etc/hosts become their
addresses, others are an error that says what to do. Must never use a resolver. Names of ports and protocols are
libpcap's business: they come from files.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from qmon.packets.filters.selector import WrongExpression
from qmon.text import plain

HOSTS_FILE = Path("/etc/hosts")

# A word as pcap-filter's grammar splits them (with the colons of addresses), or one sign.
_TOKEN = re.compile(r"\\[^\s!()]+|[A-Za-z0-9_][-\w.:]*|.", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_][-\w.]*\Z", re.ASCII)
_NUMBER = re.compile(
    r"(0[xX][0-9a-fA-F]+|\d+(\.\d+){0,3}|([0-9a-fA-F]{1,2}[-.]){5}[0-9a-fA-F]{1,2}|([0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}"
    r"|[0-9a-fA-F]{12}|\d+-\d+)\Z"
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The words of the language: man pcap-filter, "Primitives". After some of them a name is a host's or a network's,
# after others it is something else.
_ASKS_FOR_HOST = _words("host src dst net gateway ra ta addr1 addr2 addr3 addr4 address1 address2")
_ASKS_FOR_OTHER = _words(
    "port portrange proto protochain type subtype dir direction llc ifname on ruleset rset rulenum rnr srnr "
    "subrulenum reason action"
)
_KEYWORDS = _words(
    "and or not mask less greater byte broadcast multicast inbound outbound ifindex len length vlan mpls pppoed "
    "pppoes geneve vxlan link ether ppp slip fddi tr wlan arp rarp ip sctp tcp udp icmp igmp igrp pim vrrp carp radio "
    "ip6 icmp6 ah esp atalk aarp decnet lat sca moprc mopdl iso esis es-is isis is-is l1 l2 iih lsp snp csnp psnp "
    "clnp stp ipx netbeui lane metac bcc oam oamf4 oamf4ec oamf4sc sc ilmic vpi vci connectmsg metaconnect fisu lssu "
    "lsu msu hfisu hlssu hmsu sio opc dpc sls hsio hopc hdpc hsls icmptype icmpcode icmp6type "
    "icmp6code tcpflags"
)
_KEYWORD_FAMILIES = ("icmp-", "icmp6-", "tcp-")


@dataclass(frozen=True, slots=True)
class Piece:
    """A word, sign or blank of an expression: where it stands, and what libpcap is given for it."""

    at: int
    word: str
    given: str


def with_addresses(expression: str, hosts_file: Path = HOSTS_FILE) -> list[Piece]:
    """Cut an expression, the names that the hosts file knows replaced; WrongExpression for other names of hosts."""
    result: list[Piece] = []
    asks_for_host = False
    for match in _TOKEN.finditer(expression):
        given = word = match.group()
        if word in _ASKS_FOR_HOST:
            asks_for_host = True
        elif word in _ASKS_FOR_OTHER:
            asks_for_host = False
        elif asks_for_host and _is_name(word):
            given = _addresses(word, hosts_file)
            if not given:
                raise WrongExpression(
                    "capture filter",
                    expression,
                    f"{word!r} is the name of a host, and qmon asks no name server",
                    hint=f"give its address instead: getent ahosts {plain(word)}",
                    at=match.start(),
                    word=word,
                )
        result.append(Piece(match.start(), word, given))
    return result


def _is_name(token: str) -> bool:
    if not _NAME.match(token) or _NUMBER.match(token):
        return False
    return token not in _KEYWORDS and not token.startswith(_KEYWORD_FAMILIES)


def _addresses(name: str, hosts_file: Path) -> str:
    """Return what stands for a name in an expression, "" if the hosts file does not know it."""
    try:
        lines = hosts_file.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    words = [line.partition("#")[0].split() for line in lines]
    found = dict.fromkeys(line[0] for line in words if name.lower() in (w.lower() for w in line[1:]))
    addresses = [address for address in found if _is_address(address)]
    return f"({' or '.join(addresses)})" if len(addresses) > 1 else "".join(addresses)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
