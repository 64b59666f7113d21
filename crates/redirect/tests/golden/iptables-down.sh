#!/bin/sh
set -eu

if command -v iptables >/dev/null; then
if iptables -w -t nat -S ADIT_OUTPUT >/dev/null 2>&1; then
	while iptables -w -t nat -D OUTPUT -j ADIT_OUTPUT 2>/dev/null; do :; done
	while iptables -w -t nat -D PREROUTING -j ADIT_PREROUTING 2>/dev/null; do :; done
	iptables-restore -w --noflush <<'EOF'
*nat
:ADIT_OUTPUT - [0:0]
:ADIT_PREROUTING - [0:0]
:ADIT_FORWARDED - [0:0]
:ADIT_REDIRECT - [0:0]
-X ADIT_OUTPUT
-X ADIT_PREROUTING
-X ADIT_FORWARDED
-X ADIT_REDIRECT
COMMIT
EOF
fi
if iptables -w -t mangle -S ADIT_OUTPUT >/dev/null 2>&1; then
	while iptables -w -t mangle -D OUTPUT -j ADIT_OUTPUT 2>/dev/null; do :; done
	while iptables -w -t mangle -D PREROUTING -j ADIT_PREROUTING 2>/dev/null; do :; done
	while iptables -w -t mangle -D FORWARD -j ADIT_FORWARD 2>/dev/null; do :; done
	while iptables -w -t mangle -D POSTROUTING -j ADIT_LEAVING 2>/dev/null; do :; done
	iptables-restore -w --noflush <<'EOF'
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
-X ADIT_OUTPUT
-X ADIT_PREROUTING
-X ADIT_FORWARD
-X ADIT_LEAVING
-X ADIT_SENT
-X ADIT_MARK
-X ADIT_ESTABLISHED
-X ADIT_DIVERT
-X ADIT_FORWARDED
-X ADIT_RECEIVED
-X ADIT_TPROXY
-X ADIT_KNOWN
-X ADIT_INBOUND
-X ADIT_GUARD
-X ADIT_GUARD_LAST
COMMIT
EOF
fi
if iptables -w -t filter -S ADIT_OUTPUT >/dev/null 2>&1; then
	while iptables -w -t filter -D OUTPUT -j ADIT_OUTPUT 2>/dev/null; do :; done
	while iptables -w -t filter -D FORWARD -j ADIT_FORWARD 2>/dev/null; do :; done
	while iptables -w -t filter -D OUTPUT -j ADIT_GUARD_OUTPUT 2>/dev/null; do :; done
	iptables-restore -w --noflush <<'EOF'
*filter
:ADIT_OUTPUT - [0:0]
:ADIT_FORWARD - [0:0]
:ADIT_FAKE - [0:0]
:ADIT_GUARD_OUTPUT - [0:0]
:ADIT_GUARD_LAST - [0:0]
-X ADIT_OUTPUT
-X ADIT_FORWARD
-X ADIT_FAKE
-X ADIT_GUARD_OUTPUT
-X ADIT_GUARD_LAST
COMMIT
EOF
fi
fi

if command -v ip6tables >/dev/null; then
if ip6tables -w -t nat -S ADIT_OUTPUT >/dev/null 2>&1; then
	while ip6tables -w -t nat -D OUTPUT -j ADIT_OUTPUT 2>/dev/null; do :; done
	while ip6tables -w -t nat -D PREROUTING -j ADIT_PREROUTING 2>/dev/null; do :; done
	ip6tables-restore -w --noflush <<'EOF'
*nat
:ADIT_OUTPUT - [0:0]
:ADIT_PREROUTING - [0:0]
:ADIT_FORWARDED - [0:0]
:ADIT_REDIRECT - [0:0]
-X ADIT_OUTPUT
-X ADIT_PREROUTING
-X ADIT_FORWARDED
-X ADIT_REDIRECT
COMMIT
EOF
fi
if ip6tables -w -t mangle -S ADIT_OUTPUT >/dev/null 2>&1; then
	while ip6tables -w -t mangle -D OUTPUT -j ADIT_OUTPUT 2>/dev/null; do :; done
	while ip6tables -w -t mangle -D PREROUTING -j ADIT_PREROUTING 2>/dev/null; do :; done
	while ip6tables -w -t mangle -D FORWARD -j ADIT_FORWARD 2>/dev/null; do :; done
	while ip6tables -w -t mangle -D POSTROUTING -j ADIT_LEAVING 2>/dev/null; do :; done
	ip6tables-restore -w --noflush <<'EOF'
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
-X ADIT_OUTPUT
-X ADIT_PREROUTING
-X ADIT_FORWARD
-X ADIT_LEAVING
-X ADIT_SENT
-X ADIT_MARK
-X ADIT_ESTABLISHED
-X ADIT_DIVERT
-X ADIT_FORWARDED
-X ADIT_RECEIVED
-X ADIT_TPROXY
-X ADIT_KNOWN
-X ADIT_INBOUND
-X ADIT_GUARD
-X ADIT_GUARD_LAST
COMMIT
EOF
fi
if ip6tables -w -t filter -S ADIT_OUTPUT >/dev/null 2>&1; then
	while ip6tables -w -t filter -D OUTPUT -j ADIT_OUTPUT 2>/dev/null; do :; done
	while ip6tables -w -t filter -D FORWARD -j ADIT_FORWARD 2>/dev/null; do :; done
	while ip6tables -w -t filter -D OUTPUT -j ADIT_GUARD_OUTPUT 2>/dev/null; do :; done
	ip6tables-restore -w --noflush <<'EOF'
*filter
:ADIT_OUTPUT - [0:0]
:ADIT_FORWARD - [0:0]
:ADIT_FAKE - [0:0]
:ADIT_GUARD_OUTPUT - [0:0]
:ADIT_GUARD_LAST - [0:0]
-X ADIT_OUTPUT
-X ADIT_FORWARD
-X ADIT_FAKE
-X ADIT_GUARD_OUTPUT
-X ADIT_GUARD_LAST
COMMIT
EOF
fi
fi

while ip -4 rule del pref 2769 lookup 2769 2>/dev/null; do :; done

ip -4 route flush table 2769 2>/dev/null || :

if [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ]; then
	while ip -6 rule del pref 2769 lookup 2769 2>/dev/null; do :; done
fi

if [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ]; then
	ip -6 route flush table 2769 2>/dev/null || :
fi
