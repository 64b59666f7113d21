#!/bin/sh
set -eu

nft -f - <<'EOF'
add table inet adit
delete table inet adit
EOF

while ip -4 rule del pref 2769 lookup 2769 2>/dev/null; do :; done

ip -4 route flush table 2769 2>/dev/null || :

if [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ]; then
	while ip -6 rule del pref 2769 lookup 2769 2>/dev/null; do :; done
fi

if [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ]; then
	ip -6 route flush table 2769 2>/dev/null || :
fi
