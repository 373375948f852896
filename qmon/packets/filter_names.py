"""Host names in capture filters, without asking the network for them.

libpcap looks host names up with the system's resolver, which may ask DNS servers and block for many seconds, at
each key typed into a filter. So names are found here before libpcap sees them: those in /etc/hosts become their
addresses, others are an error that says what to do. Must never use a resolver.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from qmon.errors import UsageError
from qmon.text import plain

HOSTS_FILE = "/etc/hosts"

# A word as pcap-filter's grammar splits them, or one sign.
_TOKEN = re.compile(r"\\[^\s!()]+|[A-Za-z0-9][-\w.]*|\$?[:\w.]+|\s+|.", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9]([-\w.]*[A-Za-z0-9.])?\Z", re.ASCII)
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]+|\d+(\.\d+){0,3})\Z")
_ETHERNET = re.compile(r"[0-9a-fA-F]{1,2}([-.][0-9a-fA-F]{1,2}){5}\Z|[0-9a-fA-F]{4}(\.[0-9a-fA-F]{4}){2}\Z|[0-9a-fA-F]{12}\Z")

# After these a name is a host's: man pcap-filter, "Allowable primitives".
_ASKS_FOR_HOST = frozenset({"host", "src", "dst", "net", "ra", "ta", "addr1", "addr2", "addr3", "addr4", "gateway"})
_ASKS_FOR_OTHER = frozenset(
    "port portrange proto protochain type subtype dir direction ifname on ruleset rulenum rset rnr srnr reason "
    "action vpi vci lane metac".split()
)
_JOINS = frozenset({"or", "and", "not", "||", "&&", "!", "(", ")"})
_PROTOCOLS = frozenset(
    "link ether ppp slip fddi tr wlan arp rarp ip sctp tcp udp icmp igmp igrp pim vrrp carp radio ip6 icmp6 ah esp "
    "atalk aarp decnet lat sca moprc mopdl iso esis es-is isis is-is l1 l2 iih lsp snp csnp psnp clnp stp ipx "
    "netbeui".split()
)


def with_addresses(expression: str, hosts_file: str = HOSTS_FILE) -> str:
    """Return the expression with the names that the hosts file knows replaced; UsageError for other names."""
    tokens = _TOKEN.findall(expression)
    if not any(_NAME.match(token) and not _NUMBER.match(token) for token in tokens):
        return expression
    result: list[str] = []
    asks_for_host = False
    for place, token in enumerate(tokens):
        word = token.lower() if token.isupper() else token
        if word in _ASKS_FOR_HOST:
            asks_for_host = True
        elif word in _ASKS_FOR_OTHER:
            asks_for_host = False
        elif asks_for_host and _is_name(tokens, place):
            token = _addresses(token, expression, hosts_file)
        result.append(token)
    return "".join(result)
