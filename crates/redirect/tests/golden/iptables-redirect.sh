#!/bin/sh
set -eu

hooks=
iptables -w -t filter -C OUTPUT -j ADIT_OUTPUT 2>/dev/null || hooks="$hooks
-I OUTPUT -j ADIT_OUTPUT"
iptables -w -t filter -C FORWARD -j ADIT_FORWARD 2>/dev/null || hooks="$hooks
-I FORWARD -j ADIT_FORWARD"
iptables -w -t filter -C OUTPUT -j ADIT_GUARD_OUTPUT 2>/dev/null || hooks="$hooks
-I OUTPUT -j ADIT_GUARD_OUTPUT"
{ cat <<'EOF'; echo "$hooks"; echo COMMIT; } | iptables-restore -w --noflush
*filter
:ADIT_OUTPUT - [0:0]
:ADIT_FORWARD - [0:0]
:ADIT_FAKE - [0:0]
:ADIT_GUARD_OUTPUT - [0:0]
:ADIT_GUARD_LAST - [0:0]
-A ADIT_OUTPUT -p udp -g ADIT_FAKE
-A ADIT_FORWARD -i lan0 -p udp -g ADIT_FAKE
-A ADIT_FORWARD -i docker0 -p udp -g ADIT_FAKE
-A ADIT_FORWARD -i br-+ -p udp -g ADIT_FAKE
-A ADIT_FAKE -m recent ! --rcheck --seconds 5 --name adit4 --mask 0.0.0.0 -j RETURN
-A ADIT_FAKE -p udp -d 198.18.0.0/16 -j REJECT --reject-with icmp-port-unreachable
EOF
hooks=
iptables -w -t mangle -C OUTPUT -j ADIT_OUTPUT 2>/dev/null || hooks="$hooks
-I OUTPUT -j ADIT_OUTPUT"
iptables -w -t mangle -C PREROUTING -j ADIT_PREROUTING 2>/dev/null || hooks="$hooks
-I PREROUTING -j ADIT_PREROUTING"
iptables -w -t mangle -C FORWARD -j ADIT_FORWARD 2>/dev/null || hooks="$hooks
-I FORWARD -j ADIT_FORWARD"
iptables -w -t mangle -C POSTROUTING -j ADIT_LEAVING 2>/dev/null || hooks="$hooks
-I POSTROUTING -j ADIT_LEAVING"
{ cat <<'EOF'; echo "$hooks"; echo COMMIT; } | iptables-restore -w --noflush
*mangle
:ADIT_OUTPUT - [0:0]
:ADIT_PREROUTING - [0:0]
:ADIT_FORWARD - [0:0]
:ADIT_LEAVING - [0:0]
:ADIT_SENT - [0:0]
:ADIT_MARK - [0:0]
:ADIT_ESTABLISHED - [0:0]
:ADIT_DIVERT - [0:0]
:ADIT_FORWARDED - [0:0]
:ADIT_RECEIVED - [0:0]
:ADIT_TPROXY - [0:0]
:ADIT_KNOWN - [0:0]
:ADIT_INBOUND - [0:0]
:ADIT_GUARD - [0:0]
:ADIT_GUARD_LAST - [0:0]
-A ADIT_OUTPUT -o lo -p udp --dport 7893 -m mark --mark 0x2d -m recent --name adit4 --set --mask 0.0.0.0
-A ADIT_OUTPUT -o lo -p udp --dport 7893 -m owner --uid-owner 991 -m recent --name adit4 --set --mask 0.0.0.0
-A ADIT_OUTPUT -o lo -p udp --dport 7893 -m owner --gid-owner 992 -m recent --name adit4 --set --mask 0.0.0.0
EOF
hooks=
iptables -w -t nat -C OUTPUT -j ADIT_OUTPUT 2>/dev/null || hooks="$hooks
-I OUTPUT -j ADIT_OUTPUT"
iptables -w -t nat -C PREROUTING -j ADIT_PREROUTING 2>/dev/null || hooks="$hooks
-I PREROUTING -j ADIT_PREROUTING"
{ cat <<'EOF'; echo "$hooks"; echo COMMIT; } | iptables-restore -w --noflush
*nat
:ADIT_OUTPUT - [0:0]
:ADIT_PREROUTING - [0:0]
:ADIT_FORWARDED - [0:0]
:ADIT_REDIRECT - [0:0]
-A ADIT_OUTPUT -o lo -j RETURN
-A ADIT_OUTPUT -m mark --mark 0x2d -j RETURN
-A ADIT_OUTPUT -m owner --uid-owner 991 -j RETURN
-A ADIT_OUTPUT -m owner --gid-owner 992 -j RETURN
-A ADIT_OUTPUT -m owner --uid-owner 1000 -j RETURN
-A ADIT_OUTPUT -m owner --uid-owner 2000-2999 -j RETURN
-A ADIT_OUTPUT -m owner --gid-owner 60000 -j RETURN
-A ADIT_OUTPUT -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_OUTPUT -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_OUTPUT -m recent ! --rcheck --seconds 5 --name adit4 --mask 0.0.0.0 -j RETURN
-A ADIT_OUTPUT -p tcp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_OUTPUT ! -p tcp -j RETURN
-A ADIT_OUTPUT -p tcp ! --syn -j RETURN
-A ADIT_OUTPUT -d 198.18.0.0/16 -g ADIT_REDIRECT
-A ADIT_OUTPUT -m addrtype --dst-type LOCAL -j RETURN
-A ADIT_OUTPUT -m addrtype --dst-type BROADCAST -j RETURN
-A ADIT_OUTPUT -m addrtype --dst-type ANYCAST -j RETURN
-A ADIT_OUTPUT -m addrtype --dst-type MULTICAST -j RETURN
-A ADIT_OUTPUT -d 0.0.0.0/8 -j RETURN
-A ADIT_OUTPUT -d 10.0.0.0/8 -j RETURN
-A ADIT_OUTPUT -d 100.64.0.0/10 -j RETURN
-A ADIT_OUTPUT -d 127.0.0.0/8 -j RETURN
-A ADIT_OUTPUT -d 169.254.0.0/16 -j RETURN
-A ADIT_OUTPUT -d 172.16.0.0/12 -j RETURN
-A ADIT_OUTPUT -d 192.168.0.0/16 -j RETURN
-A ADIT_OUTPUT -d 224.0.0.0/3 -j RETURN
-A ADIT_OUTPUT -d 203.0.113.0/24 -j RETURN
-A ADIT_OUTPUT -d 198.51.100.1 -p udp --dport 51820 -j RETURN
-A ADIT_OUTPUT -g ADIT_REDIRECT
-A ADIT_PREROUTING -i lan0 -g ADIT_FORWARDED
-A ADIT_PREROUTING -i docker0 -g ADIT_FORWARDED
-A ADIT_PREROUTING -i br-+ -g ADIT_FORWARDED
-A ADIT_FORWARDED -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_FORWARDED -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_FORWARDED -m recent ! --rcheck --seconds 5 --name adit4 --mask 0.0.0.0 -j RETURN
-A ADIT_FORWARDED -p tcp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_FORWARDED -p udp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_FORWARDED ! -p tcp -j RETURN
-A ADIT_FORWARDED -p tcp ! --syn -j RETURN
-A ADIT_FORWARDED -d 198.18.0.0/16 -g ADIT_REDIRECT
-A ADIT_FORWARDED -m addrtype --dst-type LOCAL -j RETURN
-A ADIT_FORWARDED -m addrtype --dst-type BROADCAST -j RETURN
-A ADIT_FORWARDED -m addrtype --dst-type ANYCAST -j RETURN
-A ADIT_FORWARDED -m addrtype --dst-type MULTICAST -j RETURN
-A ADIT_FORWARDED -d 0.0.0.0/8 -j RETURN
-A ADIT_FORWARDED -d 10.0.0.0/8 -j RETURN
-A ADIT_FORWARDED -d 100.64.0.0/10 -j RETURN
-A ADIT_FORWARDED -d 127.0.0.0/8 -j RETURN
-A ADIT_FORWARDED -d 169.254.0.0/16 -j RETURN
-A ADIT_FORWARDED -d 172.16.0.0/12 -j RETURN
-A ADIT_FORWARDED -d 192.168.0.0/16 -j RETURN
-A ADIT_FORWARDED -d 224.0.0.0/3 -j RETURN
-A ADIT_FORWARDED -d 203.0.113.0/24 -j RETURN
-A ADIT_FORWARDED -d 198.51.100.1 -p udp --dport 51820 -j RETURN
-A ADIT_FORWARDED -g ADIT_REDIRECT
-A ADIT_REDIRECT -p tcp -j REDIRECT --to-ports 7893
EOF

if [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ]; then
hooks=
ip6tables -w -t filter -C OUTPUT -j ADIT_OUTPUT 2>/dev/null || hooks="$hooks
-I OUTPUT -j ADIT_OUTPUT"
ip6tables -w -t filter -C FORWARD -j ADIT_FORWARD 2>/dev/null || hooks="$hooks
-I FORWARD -j ADIT_FORWARD"
ip6tables -w -t filter -C OUTPUT -j ADIT_GUARD_OUTPUT 2>/dev/null || hooks="$hooks
-I OUTPUT -j ADIT_GUARD_OUTPUT"
{ cat <<'EOF'; echo "$hooks"; echo COMMIT; } | ip6tables-restore -w --noflush
*filter
:ADIT_OUTPUT - [0:0]
:ADIT_FORWARD - [0:0]
:ADIT_FAKE - [0:0]
:ADIT_GUARD_OUTPUT - [0:0]
:ADIT_GUARD_LAST - [0:0]
-A ADIT_OUTPUT -p udp -g ADIT_FAKE
-A ADIT_FORWARD -i lan0 -p udp -g ADIT_FAKE
-A ADIT_FORWARD -i docker0 -p udp -g ADIT_FAKE
-A ADIT_FORWARD -i br-+ -p udp -g ADIT_FAKE
-A ADIT_FAKE -m recent ! --rcheck --seconds 5 --name adit6 --mask :: -j RETURN
-A ADIT_FAKE -p udp -d fc00::/18 -j REJECT --reject-with icmp6-port-unreachable
EOF
hooks=
ip6tables -w -t mangle -C OUTPUT -j ADIT_OUTPUT 2>/dev/null || hooks="$hooks
-I OUTPUT -j ADIT_OUTPUT"
ip6tables -w -t mangle -C PREROUTING -j ADIT_PREROUTING 2>/dev/null || hooks="$hooks
-I PREROUTING -j ADIT_PREROUTING"
ip6tables -w -t mangle -C FORWARD -j ADIT_FORWARD 2>/dev/null || hooks="$hooks
-I FORWARD -j ADIT_FORWARD"
ip6tables -w -t mangle -C POSTROUTING -j ADIT_LEAVING 2>/dev/null || hooks="$hooks
-I POSTROUTING -j ADIT_LEAVING"
{ cat <<'EOF'; echo "$hooks"; echo COMMIT; } | ip6tables-restore -w --noflush
*mangle
:ADIT_OUTPUT - [0:0]
:ADIT_PREROUTING - [0:0]
:ADIT_FORWARD - [0:0]
:ADIT_LEAVING - [0:0]
:ADIT_SENT - [0:0]
:ADIT_MARK - [0:0]
:ADIT_ESTABLISHED - [0:0]
:ADIT_DIVERT - [0:0]
:ADIT_FORWARDED - [0:0]
:ADIT_RECEIVED - [0:0]
:ADIT_TPROXY - [0:0]
:ADIT_KNOWN - [0:0]
:ADIT_INBOUND - [0:0]
:ADIT_GUARD - [0:0]
:ADIT_GUARD_LAST - [0:0]
-A ADIT_OUTPUT -o lo -p udp --dport 7893 -m mark --mark 0x2d -m recent --name adit6 --set --mask ::
-A ADIT_OUTPUT -o lo -p udp --dport 7893 -m owner --uid-owner 991 -m recent --name adit6 --set --mask ::
-A ADIT_OUTPUT -o lo -p udp --dport 7893 -m owner --gid-owner 992 -m recent --name adit6 --set --mask ::
EOF
hooks=
ip6tables -w -t nat -C OUTPUT -j ADIT_OUTPUT 2>/dev/null || hooks="$hooks
-I OUTPUT -j ADIT_OUTPUT"
ip6tables -w -t nat -C PREROUTING -j ADIT_PREROUTING 2>/dev/null || hooks="$hooks
-I PREROUTING -j ADIT_PREROUTING"
{ cat <<'EOF'; echo "$hooks"; echo COMMIT; } | ip6tables-restore -w --noflush
*nat
:ADIT_OUTPUT - [0:0]
:ADIT_PREROUTING - [0:0]
:ADIT_FORWARDED - [0:0]
:ADIT_REDIRECT - [0:0]
-A ADIT_OUTPUT -o lo -j RETURN
-A ADIT_OUTPUT -m mark --mark 0x2d -j RETURN
-A ADIT_OUTPUT -m owner --uid-owner 991 -j RETURN
-A ADIT_OUTPUT -m owner --gid-owner 992 -j RETURN
-A ADIT_OUTPUT -m owner --uid-owner 1000 -j RETURN
-A ADIT_OUTPUT -m owner --uid-owner 2000-2999 -j RETURN
-A ADIT_OUTPUT -m owner --gid-owner 60000 -j RETURN
-A ADIT_OUTPUT -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_OUTPUT -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_OUTPUT -m recent ! --rcheck --seconds 5 --name adit6 --mask :: -j RETURN
-A ADIT_OUTPUT -p tcp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_OUTPUT ! -p tcp -j RETURN
-A ADIT_OUTPUT -p tcp ! --syn -j RETURN
-A ADIT_OUTPUT -d fc00::/18 -g ADIT_REDIRECT
-A ADIT_OUTPUT -m addrtype --dst-type LOCAL -j RETURN
-A ADIT_OUTPUT -m addrtype --dst-type ANYCAST -j RETURN
-A ADIT_OUTPUT -m addrtype --dst-type MULTICAST -j RETURN
-A ADIT_OUTPUT -d ::/128 -j RETURN
-A ADIT_OUTPUT -d ::1/128 -j RETURN
-A ADIT_OUTPUT -d fc00::/7 -j RETURN
-A ADIT_OUTPUT -d fe80::/10 -j RETURN
-A ADIT_OUTPUT -d ff00::/8 -j RETURN
-A ADIT_OUTPUT -d 2001:db8::443 -p tcp --dport 443 -j RETURN
-A ADIT_OUTPUT -g ADIT_REDIRECT
-A ADIT_PREROUTING -i lan0 -g ADIT_FORWARDED
-A ADIT_PREROUTING -i docker0 -g ADIT_FORWARDED
-A ADIT_PREROUTING -i br-+ -g ADIT_FORWARDED
-A ADIT_FORWARDED -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_FORWARDED -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_FORWARDED -m recent ! --rcheck --seconds 5 --name adit6 --mask :: -j RETURN
-A ADIT_FORWARDED -p tcp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_FORWARDED -p udp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_FORWARDED ! -p tcp -j RETURN
-A ADIT_FORWARDED -p tcp ! --syn -j RETURN
-A ADIT_FORWARDED -d fc00::/18 -g ADIT_REDIRECT
-A ADIT_FORWARDED -m addrtype --dst-type LOCAL -j RETURN
-A ADIT_FORWARDED -m addrtype --dst-type ANYCAST -j RETURN
-A ADIT_FORWARDED -m addrtype --dst-type MULTICAST -j RETURN
-A ADIT_FORWARDED -d ::/128 -j RETURN
-A ADIT_FORWARDED -d ::1/128 -j RETURN
-A ADIT_FORWARDED -d fc00::/7 -j RETURN
-A ADIT_FORWARDED -d fe80::/10 -j RETURN
-A ADIT_FORWARDED -d ff00::/8 -j RETURN
-A ADIT_FORWARDED -d 2001:db8::443 -p tcp --dport 443 -j RETURN
-A ADIT_FORWARDED -g ADIT_REDIRECT
-A ADIT_REDIRECT -p tcp -j REDIRECT --to-ports 7893
EOF
fi

while ip -4 rule del pref 2769 lookup 2769 2>/dev/null; do :; done

ip -4 route flush table 2769 2>/dev/null || :

if [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ]; then
	while ip -6 rule del pref 2769 lookup 2769 2>/dev/null; do :; done
fi

if [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ]; then
	ip -6 route flush table 2769 2>/dev/null || :
fi
