"""Names of numbers, as Wireshark writes them (IANA's registries behind them)."""

from __future__ import annotations

IP_PROTOCOLS = {
    0: "HOPOPT", 3: "GGP", 5: "ST2", 8: "EGP", 9: "IGP", 27: "RDP", 33: "DCCP", 46: "RSVP", 48: "DSR", 50: "ESP",
    51: "AH", 55: "MOBILE", 84: "TTP", 88: "EIGRP", 89: "OSPF", 94: "IPIP", 97: "ETHERIP", 103: "PIMv2",
    108: "IPComp", 112: "VRRP", 115: "L2TPv3", 132: "SCTP", 135: "MIPv6", 136: "UDP-Lite", 139: "HIP",
}  # fmt: skip
ICMP_TYPES = {
    0: "Echo (ping) reply", 3: "Destination unreachable", 4: "Source quench", 5: "Redirect", 8: "Echo (ping) request",
    9: "Mobile IP Advertisement", 10: "Router solicitation", 11: "Time-to-live exceeded", 12: "Parameter problem",
    13: "Timestamp request", 14: "Timestamp reply", 15: "Information request", 16: "Information reply",
    17: "Address mask request", 18: "Address mask reply",
}  # fmt: skip
UNREACHABLE = (
    "Network unreachable", "Host unreachable", "Protocol unreachable", "Port unreachable", "Fragmentation needed",
    "Source route failed", "Network unknown", "Host unknown", "Source host isolated",
    "Network administratively prohibited", "Host administratively prohibited", "Network unreachable for TOS",
    "Host unreachable for TOS", "Communication administratively filtered", "Host precedence violation",
    "Precedence cutoff in effect",
)  # fmt: skip
REDIRECT = (
    "Redirect for network",
    "Redirect for host",
    "Redirect for TOS and network",
    "Redirect for TOS and host",
)
EXCEEDED = ("Time to live exceeded in transit", "Fragment reassembly time exceeded")
ICMP6_TYPES = {
    1: "Destination Unreachable", 2: "Packet Too Big", 3: "Time Exceeded", 4: "Parameter Problem",
    128: "Echo (ping) request", 129: "Echo (ping) reply", 130: "Multicast Listener Query",
    131: "Multicast Listener Report", 132: "Multicast Listener Done", 133: "Router Solicitation",
    134: "Router Advertisement", 135: "Neighbor Solicitation", 136: "Neighbor Advertisement", 137: "Redirect",
    143: "Multicast Listener Report Message v2",
}  # fmt: skip
UNREACHABLE6 = (
    "no route to destination", "Administratively prohibited", "Beyond scope of source address", "Address unreachable",
    "Port unreachable", "Source address failed ingress/egress policy", "Reject route to destination",
)  # fmt: skip
EXCEEDED6 = ("hop limit exceeded in transit", "fragment reassembly time exceeded")
DNS_TYPES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 10: "NULL", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 28: "AAAA",
    33: "SRV", 35: "NAPTR", 39: "DNAME", 41: "OPT", 43: "DS", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3",
    52: "TLSA", 64: "SVCB", 65: "HTTPS", 249: "TKEY", 250: "TSIG", 251: "IXFR", 252: "AXFR", 255: "ANY",
}  # fmt: skip
DNS_OPCODES = {
    0: "Standard query", 1: "Inverse query", 2: "Server status request", 4: "Zone change notification",
    5: "Dynamic update",
}  # fmt: skip
DNS_CODES = (
    "", "Format error", "Server failure", "No such name", "Not implemented", "Refused", "Name exists", "RRset exists",
    "RRset does not exist", "Not authoritative", "Name out of zone",
)  # fmt: skip
DHCP_TYPES = (
    "", "Discover", "Offer", "Request", "Decline", "ACK", "NAK", "Release", "Inform", "Force Renew", "Lease Query",
    "Lease Unassigned", "Lease Unknown", "Lease Active",
)  # fmt: skip
DHCP6_TYPES = (
    "", "Solicit", "Advertise", "Request", "Confirm", "Renew", "Rebind", "Reply", "Release", "Decline", "Reconfigure",
    "Information-request", "Relay-forw", "Relay-reply",
)  # fmt: skip
TFTP_ERRORS = (
    "Not defined", "File not found", "Access violation", "Disk full or allocation exceeded", "Illegal TFTP operation",
    "Unknown transfer ID", "File already exists", "No such user", "Option negotiation failed",
)  # fmt: skip
SYSLOG_FACILITIES = (
    "KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP", "NTP",
    "LOGAUDIT", "LOGALERT", "CRON", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4", "LOCAL5", "LOCAL6", "LOCAL7",
)  # fmt: skip
SYSLOG_LEVELS = ("EMERG", "ALERT", "CRIT", "ERR", "WARNING", "NOTICE", "INFO", "DEBUG")


def named(names: tuple[str, ...] | dict[int, str], number: int, otherwise: str = "{}") -> str:
    """Return a number's name, or the number within `otherwise`."""
    if isinstance(names, dict):
        found = names.get(number)
    else:
        found = names[number] if 0 <= number < len(names) else None
    return otherwise.format(number) if found is None else found
