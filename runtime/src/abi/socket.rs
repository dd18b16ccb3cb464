//! Sockets: `linux/socket.h`, `linux/net.h`. See socket(2), recv(2), send(2).
#![allow(missing_docs, reason = "the names are Linux's; the manual pages say what they mean")]

names!(AF: u32 {
    AF_UNSPEC = 0, AF_UNIX = 1, AF_INET = 2, AF_INET6 = 10, AF_NETLINK = 16, AF_PACKET = 17, AF_ALG = 38,
    AF_VSOCK = 40,
});
names!(SOCK: u32 {
    SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_RDM = 4, SOCK_SEQPACKET = 5, SOCK_NONBLOCK = 0o4000,
    SOCK_CLOEXEC = 0o2000000,
});
names!(SHUT: u32 { SHUT_RD = 0, SHUT_WR = 1, SHUT_RDWR = 2 });
names!(MSG: u32 {
    MSG_OOB = 1, MSG_PEEK = 2, MSG_DONTROUTE = 4, MSG_CTRUNC = 8, MSG_TRUNC = 0x20, MSG_DONTWAIT = 0x40,
    MSG_EOR = 0x80, MSG_WAITALL = 0x100, MSG_CONFIRM = 0x800, MSG_ERRQUEUE = 0x2000, MSG_NOSIGNAL = 0x4000,
    MSG_MORE = 0x8000, MSG_WAITFORONE = 0x1_0000, MSG_FASTOPEN = 0x2000_0000, MSG_CMSG_CLOEXEC = 0x4000_0000,
});
names!(SOL: u32 {
    SOL_IP = 0, SOL_SOCKET = 1, SOL_TCP = 6, SOL_UDP = 17, SOL_IPV6 = 41, SOL_UDPLITE = 136, SOL_NETLINK = 270,
});
names!(IP: u32 { IP_TOS = 1, IP_TTL = 2, IP_PKTINFO = 8, IP_RECVTTL = 12, IP_RECVTOS = 13 });
names!(IPV6: u32 {
    IPV6_UNICAST_HOPS = 16, IPV6_RECVPKTINFO = 49, IPV6_PKTINFO = 50, IPV6_RECVHOPLIMIT = 51, IPV6_HOPLIMIT = 52,
    IPV6_RECVTCLASS = 66, IPV6_TCLASS = 67,
});
names!(SCM: u32 { SCM_RIGHTS = 1, SCM_CREDENTIALS = 2 });
