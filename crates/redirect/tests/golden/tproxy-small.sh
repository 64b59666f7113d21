#!/bin/sh
set -eu

ip -4 route replace local default dev lo table 2769

ip -4 rule show pref 2769 | grep -q 'fwmark 0xad000000/0xff000000' || ip -4 rule add pref 2769 fwmark 0xad000000/0xff000000 lookup 2769

nft -f - <<'EOF'
add table inet adit
delete table inet adit
table inet adit {
	set alive {
		type nf_proto
		size 4
		flags dynamic,timeout
		timeout 5s
	}

	set bypass4 {
		type ipv4_addr
		flags interval
		auto-merge
		elements = {
			0.0.0.0/8,
			10.0.0.0/8,
			100.64.0.0/10,
			127.0.0.0/8,
			169.254.0.0/16,
			172.16.0.0/12,
			192.168.0.0/16,
			224.0.0.0/3
		}
	}

	set bypass6 {
		type ipv6_addr
		flags interval
		auto-merge
		elements = {
			::/128,
			::1/128,
			fc00::/7,
			fe80::/10,
			ff00::/8
		}
	}

	# Each second the proxy says that it runs.
	chain pulse {
		type filter hook output priority raw; policy accept;
		oifname "lo" udp dport 7892 meta mark 0x1 update @alive { meta nfproto timeout 5s }
	}

	# Packets of the proxy, and of those who are let through.
	chain own {
		meta mark 0x1 accept
	}

	# Destinations that are left alone.
	chain bypass {
		fib daddr type { local, broadcast, anycast, multicast } accept
		ip daddr @bypass4 accept
		ip6 daddr @bypass6 accept
	}

	# What this host sends.
	chain output {
		type route hook output priority mangle; policy accept;
		oifname "lo" accept
		jump own
		meta l4proto != { tcp, udp } accept
		ct direction reply accept
		tcp flags & (fin | syn | rst | ack) != syn goto established
		meta nfproto ipv6 accept
		meta nfproto != @alive accept
		jump bypass
		meta l4proto tcp ct mark set ct mark & 0x00ffffff | 0xad000000
		meta mark set meta mark & 0x00ffffff | 0xad000000
	}

	# A connection stays where it began.
	chain established {
		ct mark & 0xff000000 == 0xad000000 meta mark set meta mark & 0x00ffffff | 0xad000000
	}

	# What comes in.
	chain prerouting {
		type filter hook prerouting priority mangle; policy accept;
		iifname "lo" meta mark & 0xff000000 == 0xad000000 goto divert
	}

	# To the listener, as it is; without a listener the packet goes on.
	chain divert {
		meta l4proto { tcp, udp } tproxy to :7892 accept
	}
}
EOF

if [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ]; then
	while ip -6 rule del pref 2769 lookup 2769 2>/dev/null; do :; done
fi

if [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ]; then
	ip -6 route flush table 2769 2>/dev/null || :
fi
