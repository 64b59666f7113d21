#!/bin/sh
set -eu

ip -4 route replace local default dev lo table 2769

ip -4 rule show pref 2769 | grep -q 'fwmark 0xad000000/0xff000000' || ip -4 rule add pref 2769 fwmark 0xad000000/0xff000000 lookup 2769

if [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ]; then
	ip -6 route replace local default dev lo table 2769
fi

if [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ]; then
	ip -6 rule show pref 2769 | grep -q 'fwmark 0xad000000/0xff000000' || ip -6 rule add pref 2769 fwmark 0xad000000/0xff000000 lookup 2769
fi

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
-A ADIT_GUARD_OUTPUT -o lo -j RETURN
-A ADIT_GUARD_OUTPUT -m mark --mark 0xad000000/0xff000000 -j RETURN
-A ADIT_GUARD_OUTPUT -m mark --mark 0x2d -j RETURN
-A ADIT_GUARD_OUTPUT -m owner --uid-owner 991 -j RETURN
-A ADIT_GUARD_OUTPUT -m owner --gid-owner 992 -j RETURN
-A ADIT_GUARD_OUTPUT -m owner --uid-owner 1000 -j RETURN
-A ADIT_GUARD_OUTPUT -m owner --uid-owner 2000-2999 -j RETURN
-A ADIT_GUARD_OUTPUT -m owner --gid-owner 60000 -j RETURN
-A ADIT_GUARD_OUTPUT -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_GUARD_OUTPUT -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_GUARD_OUTPUT -p udp --sport 51820 -j RETURN
-A ADIT_GUARD_OUTPUT -d 198.18.0.0/16 -g ADIT_GUARD_LAST
-A ADIT_GUARD_OUTPUT -m addrtype --dst-type LOCAL -j RETURN
-A ADIT_GUARD_OUTPUT -m addrtype --dst-type BROADCAST -j RETURN
-A ADIT_GUARD_OUTPUT -m addrtype --dst-type ANYCAST -j RETURN
-A ADIT_GUARD_OUTPUT -m addrtype --dst-type MULTICAST -j RETURN
-A ADIT_GUARD_OUTPUT -d 0.0.0.0/8 -j RETURN
-A ADIT_GUARD_OUTPUT -d 10.0.0.0/8 -j RETURN
-A ADIT_GUARD_OUTPUT -d 100.64.0.0/10 -j RETURN
-A ADIT_GUARD_OUTPUT -d 127.0.0.0/8 -j RETURN
-A ADIT_GUARD_OUTPUT -d 169.254.0.0/16 -j RETURN
-A ADIT_GUARD_OUTPUT -d 172.16.0.0/12 -j RETURN
-A ADIT_GUARD_OUTPUT -d 192.168.0.0/16 -j RETURN
-A ADIT_GUARD_OUTPUT -d 224.0.0.0/3 -j RETURN
-A ADIT_GUARD_OUTPUT -d 203.0.113.0/24 -j RETURN
-A ADIT_GUARD_OUTPUT -d 198.51.100.1 -p udp --dport 51820 -j RETURN
-A ADIT_GUARD_OUTPUT -g ADIT_GUARD_LAST
-A ADIT_GUARD_LAST -p tcp -m conntrack --ctdir REPLY -m connmark --mark 0xae000000/0xff000000 -j RETURN
-A ADIT_GUARD_LAST -j DROP
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
-A ADIT_OUTPUT -o lo -j RETURN
-A ADIT_OUTPUT -m mark --mark 0x2d -j RETURN
-A ADIT_OUTPUT -m owner --uid-owner 991 -j RETURN
-A ADIT_OUTPUT -m owner --gid-owner 992 -j RETURN
-A ADIT_OUTPUT -m owner --uid-owner 1000 -j RETURN
-A ADIT_OUTPUT -m owner --uid-owner 2000-2999 -j RETURN
-A ADIT_OUTPUT -m owner --gid-owner 60000 -j RETURN
-A ADIT_OUTPUT -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_OUTPUT -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_OUTPUT -p tcp -g ADIT_SENT
-A ADIT_OUTPUT -p udp -g ADIT_SENT
-A ADIT_SENT -m conntrack --ctdir REPLY -j RETURN
-A ADIT_SENT -p tcp ! --syn -g ADIT_ESTABLISHED
-A ADIT_SENT -p tcp --dport 53 -j RETURN
-A ADIT_SENT -p udp --dport 53 -j RETURN
-A ADIT_SENT -d 198.18.0.0/16 -g ADIT_MARK
-A ADIT_SENT -m addrtype --dst-type LOCAL -j RETURN
-A ADIT_SENT -m addrtype --dst-type BROADCAST -j RETURN
-A ADIT_SENT -m addrtype --dst-type ANYCAST -j RETURN
-A ADIT_SENT -m addrtype --dst-type MULTICAST -j RETURN
-A ADIT_SENT -d 0.0.0.0/8 -j RETURN
-A ADIT_SENT -d 10.0.0.0/8 -j RETURN
-A ADIT_SENT -d 100.64.0.0/10 -j RETURN
-A ADIT_SENT -d 127.0.0.0/8 -j RETURN
-A ADIT_SENT -d 169.254.0.0/16 -j RETURN
-A ADIT_SENT -d 172.16.0.0/12 -j RETURN
-A ADIT_SENT -d 192.168.0.0/16 -j RETURN
-A ADIT_SENT -d 224.0.0.0/3 -j RETURN
-A ADIT_SENT -d 203.0.113.0/24 -j RETURN
-A ADIT_SENT -d 198.51.100.1 -p udp --dport 51820 -j RETURN
-A ADIT_SENT -g ADIT_MARK
-A ADIT_MARK -p tcp -j CONNMARK --set-xmark 0xad000000/0xff000000
-A ADIT_MARK -j MARK --set-xmark 0xad000000/0xff000000
-A ADIT_ESTABLISHED -m connmark --mark 0xad000000/0xff000000 -j MARK --set-xmark 0xad000000/0xff000000
-A ADIT_PREROUTING -i lo -m mark --mark 0xad000000/0xff000000 -g ADIT_DIVERT
-A ADIT_DIVERT -p tcp -j TPROXY --on-port 7893
-A ADIT_DIVERT -p udp -j TPROXY --on-port 7893
-A ADIT_PREROUTING -i lan0 -g ADIT_FORWARDED
-A ADIT_PREROUTING -i docker0 -g ADIT_FORWARDED
-A ADIT_PREROUTING -i br-+ -g ADIT_FORWARDED
-A ADIT_FORWARDED -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_FORWARDED -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_FORWARDED -p tcp -g ADIT_RECEIVED
-A ADIT_FORWARDED -p udp -g ADIT_RECEIVED
-A ADIT_RECEIVED -m conntrack --ctdir REPLY -j RETURN
-A ADIT_RECEIVED -p tcp ! --syn -g ADIT_KNOWN
-A ADIT_RECEIVED -p tcp --dport 53 -j RETURN
-A ADIT_RECEIVED -p udp --dport 53 -j RETURN
-A ADIT_RECEIVED -d 198.18.0.0/16 -g ADIT_TPROXY
-A ADIT_RECEIVED -m addrtype --dst-type LOCAL -j RETURN
-A ADIT_RECEIVED -m addrtype --dst-type BROADCAST -j RETURN
-A ADIT_RECEIVED -m addrtype --dst-type ANYCAST -j RETURN
-A ADIT_RECEIVED -m addrtype --dst-type MULTICAST -j RETURN
-A ADIT_RECEIVED -d 0.0.0.0/8 -j RETURN
-A ADIT_RECEIVED -d 10.0.0.0/8 -j RETURN
-A ADIT_RECEIVED -d 100.64.0.0/10 -j RETURN
-A ADIT_RECEIVED -d 127.0.0.0/8 -j RETURN
-A ADIT_RECEIVED -d 169.254.0.0/16 -j RETURN
-A ADIT_RECEIVED -d 172.16.0.0/12 -j RETURN
-A ADIT_RECEIVED -d 192.168.0.0/16 -j RETURN
-A ADIT_RECEIVED -d 224.0.0.0/3 -j RETURN
-A ADIT_RECEIVED -d 203.0.113.0/24 -j RETURN
-A ADIT_RECEIVED -d 198.51.100.1 -p udp --dport 51820 -j RETURN
-A ADIT_RECEIVED -g ADIT_TPROXY
-A ADIT_TPROXY -p tcp -j CONNMARK --set-xmark 0xad000000/0xff000000
-A ADIT_TPROXY -p tcp -j TPROXY --on-port 7893 --tproxy-mark 0xad000000/0xff000000
-A ADIT_TPROXY -p udp -j TPROXY --on-port 7893 --tproxy-mark 0xad000000/0xff000000
-A ADIT_KNOWN -p tcp -m connmark --mark 0xad000000/0xff000000 -j TPROXY --on-port 7893 --tproxy-mark 0xad000000/0xff000000
-A ADIT_PREROUTING -i lo -j RETURN
-A ADIT_PREROUTING -i lan0 -j RETURN
-A ADIT_PREROUTING -i docker0 -j RETURN
-A ADIT_PREROUTING -i br-+ -j RETURN
-A ADIT_PREROUTING -p tcp --syn -m conntrack --ctstate NEW -g ADIT_INBOUND
-A ADIT_INBOUND -j CONNMARK --set-xmark 0xae000000/0xff000000
-A ADIT_FORWARD -i lan0 -g ADIT_GUARD
-A ADIT_FORWARD -i docker0 -g ADIT_GUARD
-A ADIT_FORWARD -i br-+ -g ADIT_GUARD
-A ADIT_GUARD -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_GUARD -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_GUARD -d 198.18.0.0/16 -g ADIT_GUARD_LAST
-A ADIT_GUARD -m addrtype --dst-type LOCAL -j RETURN
-A ADIT_GUARD -m addrtype --dst-type BROADCAST -j RETURN
-A ADIT_GUARD -m addrtype --dst-type ANYCAST -j RETURN
-A ADIT_GUARD -m addrtype --dst-type MULTICAST -j RETURN
-A ADIT_GUARD -d 0.0.0.0/8 -j RETURN
-A ADIT_GUARD -d 10.0.0.0/8 -j RETURN
-A ADIT_GUARD -d 100.64.0.0/10 -j RETURN
-A ADIT_GUARD -d 127.0.0.0/8 -j RETURN
-A ADIT_GUARD -d 169.254.0.0/16 -j RETURN
-A ADIT_GUARD -d 172.16.0.0/12 -j RETURN
-A ADIT_GUARD -d 192.168.0.0/16 -j RETURN
-A ADIT_GUARD -d 224.0.0.0/3 -j RETURN
-A ADIT_GUARD -d 203.0.113.0/24 -j RETURN
-A ADIT_GUARD -d 198.51.100.1 -p udp --dport 51820 -j RETURN
-A ADIT_GUARD -g ADIT_GUARD_LAST
-A ADIT_GUARD_LAST -p tcp -m conntrack --ctdir REPLY -m connmark --mark 0xae000000/0xff000000 -j RETURN
-A ADIT_GUARD_LAST -j DROP
-A ADIT_LEAVING ! -o lo -m mark --mark 0xad000000/0xff000000 -j DROP
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
-A ADIT_OUTPUT -p tcp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_PREROUTING -i lan0 -g ADIT_FORWARDED
-A ADIT_PREROUTING -i docker0 -g ADIT_FORWARDED
-A ADIT_PREROUTING -i br-+ -g ADIT_FORWARDED
-A ADIT_FORWARDED -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_FORWARDED -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_FORWARDED -p tcp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_FORWARDED -p udp --dport 53 -j REDIRECT --to-ports 1053
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
-A ADIT_GUARD_OUTPUT -o lo -j RETURN
-A ADIT_GUARD_OUTPUT -m mark --mark 0xad000000/0xff000000 -j RETURN
-A ADIT_GUARD_OUTPUT -m mark --mark 0x2d -j RETURN
-A ADIT_GUARD_OUTPUT -m owner --uid-owner 991 -j RETURN
-A ADIT_GUARD_OUTPUT -m owner --gid-owner 992 -j RETURN
-A ADIT_GUARD_OUTPUT -m owner --uid-owner 1000 -j RETURN
-A ADIT_GUARD_OUTPUT -m owner --uid-owner 2000-2999 -j RETURN
-A ADIT_GUARD_OUTPUT -m owner --gid-owner 60000 -j RETURN
-A ADIT_GUARD_OUTPUT -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_GUARD_OUTPUT -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_GUARD_OUTPUT -p udp --sport 51820 -j RETURN
-A ADIT_GUARD_OUTPUT -p icmpv6 --icmpv6-type 133 -j RETURN
-A ADIT_GUARD_OUTPUT -p icmpv6 --icmpv6-type 134 -j RETURN
-A ADIT_GUARD_OUTPUT -p icmpv6 --icmpv6-type 135 -j RETURN
-A ADIT_GUARD_OUTPUT -p icmpv6 --icmpv6-type 136 -j RETURN
-A ADIT_GUARD_OUTPUT -d fc00::/18 -g ADIT_GUARD_LAST
-A ADIT_GUARD_OUTPUT -m addrtype --dst-type LOCAL -j RETURN
-A ADIT_GUARD_OUTPUT -m addrtype --dst-type ANYCAST -j RETURN
-A ADIT_GUARD_OUTPUT -m addrtype --dst-type MULTICAST -j RETURN
-A ADIT_GUARD_OUTPUT -d ::/128 -j RETURN
-A ADIT_GUARD_OUTPUT -d ::1/128 -j RETURN
-A ADIT_GUARD_OUTPUT -d fc00::/7 -j RETURN
-A ADIT_GUARD_OUTPUT -d fe80::/10 -j RETURN
-A ADIT_GUARD_OUTPUT -d ff00::/8 -j RETURN
-A ADIT_GUARD_OUTPUT -d 2001:db8::443 -p tcp --dport 443 -j RETURN
-A ADIT_GUARD_OUTPUT -g ADIT_GUARD_LAST
-A ADIT_GUARD_LAST -p tcp -m conntrack --ctdir REPLY -m connmark --mark 0xae000000/0xff000000 -j RETURN
-A ADIT_GUARD_LAST -j DROP
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
-A ADIT_OUTPUT -o lo -j RETURN
-A ADIT_OUTPUT -m mark --mark 0x2d -j RETURN
-A ADIT_OUTPUT -m owner --uid-owner 991 -j RETURN
-A ADIT_OUTPUT -m owner --gid-owner 992 -j RETURN
-A ADIT_OUTPUT -m owner --uid-owner 1000 -j RETURN
-A ADIT_OUTPUT -m owner --uid-owner 2000-2999 -j RETURN
-A ADIT_OUTPUT -m owner --gid-owner 60000 -j RETURN
-A ADIT_OUTPUT -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_OUTPUT -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_OUTPUT -p tcp -g ADIT_SENT
-A ADIT_OUTPUT -p udp -g ADIT_SENT
-A ADIT_SENT -m conntrack --ctdir REPLY -j RETURN
-A ADIT_SENT -p tcp ! --syn -g ADIT_ESTABLISHED
-A ADIT_SENT -p tcp --dport 53 -j RETURN
-A ADIT_SENT -p udp --dport 53 -j RETURN
-A ADIT_SENT -d fc00::/18 -g ADIT_MARK
-A ADIT_SENT -m addrtype --dst-type LOCAL -j RETURN
-A ADIT_SENT -m addrtype --dst-type ANYCAST -j RETURN
-A ADIT_SENT -m addrtype --dst-type MULTICAST -j RETURN
-A ADIT_SENT -d ::/128 -j RETURN
-A ADIT_SENT -d ::1/128 -j RETURN
-A ADIT_SENT -d fc00::/7 -j RETURN
-A ADIT_SENT -d fe80::/10 -j RETURN
-A ADIT_SENT -d ff00::/8 -j RETURN
-A ADIT_SENT -d 2001:db8::443 -p tcp --dport 443 -j RETURN
-A ADIT_SENT -g ADIT_MARK
-A ADIT_MARK -p tcp -j CONNMARK --set-xmark 0xad000000/0xff000000
-A ADIT_MARK -j MARK --set-xmark 0xad000000/0xff000000
-A ADIT_ESTABLISHED -m connmark --mark 0xad000000/0xff000000 -j MARK --set-xmark 0xad000000/0xff000000
-A ADIT_PREROUTING -i lo -m mark --mark 0xad000000/0xff000000 -g ADIT_DIVERT
-A ADIT_DIVERT -p tcp -j TPROXY --on-port 7893
-A ADIT_DIVERT -p udp -j TPROXY --on-port 7893
-A ADIT_PREROUTING -i lan0 -g ADIT_FORWARDED
-A ADIT_PREROUTING -i docker0 -g ADIT_FORWARDED
-A ADIT_PREROUTING -i br-+ -g ADIT_FORWARDED
-A ADIT_FORWARDED -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_FORWARDED -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_FORWARDED -p tcp -g ADIT_RECEIVED
-A ADIT_FORWARDED -p udp -g ADIT_RECEIVED
-A ADIT_RECEIVED -m conntrack --ctdir REPLY -j RETURN
-A ADIT_RECEIVED -p tcp ! --syn -g ADIT_KNOWN
-A ADIT_RECEIVED -p tcp --dport 53 -j RETURN
-A ADIT_RECEIVED -p udp --dport 53 -j RETURN
-A ADIT_RECEIVED -d fc00::/18 -g ADIT_TPROXY
-A ADIT_RECEIVED -m addrtype --dst-type LOCAL -j RETURN
-A ADIT_RECEIVED -m addrtype --dst-type ANYCAST -j RETURN
-A ADIT_RECEIVED -m addrtype --dst-type MULTICAST -j RETURN
-A ADIT_RECEIVED -d ::/128 -j RETURN
-A ADIT_RECEIVED -d ::1/128 -j RETURN
-A ADIT_RECEIVED -d fc00::/7 -j RETURN
-A ADIT_RECEIVED -d fe80::/10 -j RETURN
-A ADIT_RECEIVED -d ff00::/8 -j RETURN
-A ADIT_RECEIVED -d 2001:db8::443 -p tcp --dport 443 -j RETURN
-A ADIT_RECEIVED -g ADIT_TPROXY
-A ADIT_TPROXY -p tcp -j CONNMARK --set-xmark 0xad000000/0xff000000
-A ADIT_TPROXY -p tcp -j TPROXY --on-port 7893 --tproxy-mark 0xad000000/0xff000000
-A ADIT_TPROXY -p udp -j TPROXY --on-port 7893 --tproxy-mark 0xad000000/0xff000000
-A ADIT_KNOWN -p tcp -m connmark --mark 0xad000000/0xff000000 -j TPROXY --on-port 7893 --tproxy-mark 0xad000000/0xff000000
-A ADIT_PREROUTING -i lo -j RETURN
-A ADIT_PREROUTING -i lan0 -j RETURN
-A ADIT_PREROUTING -i docker0 -j RETURN
-A ADIT_PREROUTING -i br-+ -j RETURN
-A ADIT_PREROUTING -p tcp --syn -m conntrack --ctstate NEW -g ADIT_INBOUND
-A ADIT_INBOUND -j CONNMARK --set-xmark 0xae000000/0xff000000
-A ADIT_FORWARD -i lan0 -g ADIT_GUARD
-A ADIT_FORWARD -i docker0 -g ADIT_GUARD
-A ADIT_FORWARD -i br-+ -g ADIT_GUARD
-A ADIT_GUARD -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_GUARD -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_GUARD -p icmpv6 --icmpv6-type 133 -j RETURN
-A ADIT_GUARD -p icmpv6 --icmpv6-type 134 -j RETURN
-A ADIT_GUARD -p icmpv6 --icmpv6-type 135 -j RETURN
-A ADIT_GUARD -p icmpv6 --icmpv6-type 136 -j RETURN
-A ADIT_GUARD -d fc00::/18 -g ADIT_GUARD_LAST
-A ADIT_GUARD -m addrtype --dst-type LOCAL -j RETURN
-A ADIT_GUARD -m addrtype --dst-type ANYCAST -j RETURN
-A ADIT_GUARD -m addrtype --dst-type MULTICAST -j RETURN
-A ADIT_GUARD -d ::/128 -j RETURN
-A ADIT_GUARD -d ::1/128 -j RETURN
-A ADIT_GUARD -d fc00::/7 -j RETURN
-A ADIT_GUARD -d fe80::/10 -j RETURN
-A ADIT_GUARD -d ff00::/8 -j RETURN
-A ADIT_GUARD -d 2001:db8::443 -p tcp --dport 443 -j RETURN
-A ADIT_GUARD -g ADIT_GUARD_LAST
-A ADIT_GUARD_LAST -p tcp -m conntrack --ctdir REPLY -m connmark --mark 0xae000000/0xff000000 -j RETURN
-A ADIT_GUARD_LAST -j DROP
-A ADIT_LEAVING ! -o lo -m mark --mark 0xad000000/0xff000000 -j DROP
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
-A ADIT_OUTPUT -p tcp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_PREROUTING -i lan0 -g ADIT_FORWARDED
-A ADIT_PREROUTING -i docker0 -g ADIT_FORWARDED
-A ADIT_PREROUTING -i br-+ -g ADIT_FORWARDED
-A ADIT_FORWARDED -m mark --mark 0x7/0xffffffff -j RETURN
-A ADIT_FORWARDED -m mark --mark 0x40000/0xff0000 -j RETURN
-A ADIT_FORWARDED -p tcp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_FORWARDED -p udp --dport 53 -j REDIRECT --to-ports 1053
-A ADIT_REDIRECT -p tcp -j REDIRECT --to-ports 7893
EOF
fi
