#!/bin/sh
set -eu

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

	set fake4 {
		type ipv4_addr
		flags interval
		auto-merge
		elements = {
			198.18.0.0/16
		}
	}

	set fake6 {
		type ipv6_addr
		flags interval
		auto-merge
		elements = {
			fc00::/18
		}
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
			224.0.0.0/3,
			203.0.113.0/24
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

	set endpoints4 {
		type ipv4_addr . inet_proto . inet_service
		elements = {
			198.51.100.1 . udp . 51820
		}
	}

	set endpoints6 {
		type ipv6_addr . inet_proto . inet_service
		elements = {
			2001:db8::443 . tcp . 443
		}
	}

	# Each second the proxy says that it runs.
	chain pulse {
		type filter hook output priority raw; policy accept;
		oifname "lo" udp dport 7893 meta mark 0x2d update @alive { meta nfproto timeout 5s }
		oifname "lo" udp dport 7893 meta skuid 991 update @alive { meta nfproto timeout 5s }
		oifname "lo" udp dport 7893 meta skgid 992 update @alive { meta nfproto timeout 5s }
	}

	# Packets of the proxy, and of those who are let through.
	chain own {
		meta mark 0x2d accept
		meta skuid 991 accept
		meta skgid 992 accept
		meta skuid 1000 accept
		meta skuid 2000-2999 accept
		meta skgid 60000 accept
		meta mark 0x7 accept
		meta mark & 0xff0000 == 0x40000 accept
	}

	# Destinations that are left alone.
	chain bypass {
		ip daddr @fake4 return
		ip6 daddr @fake6 return
		fib daddr type { local, broadcast, anycast, multicast } accept
		ip daddr @bypass4 accept
		ip6 daddr @bypass6 accept
		ip daddr . meta l4proto . th dport @endpoints4 accept
		ip6 daddr . meta l4proto . th dport @endpoints6 accept
	}

	# What this host sends.
	chain output {
		type nat hook output priority -105; policy accept;
		oifname "lo" accept
		jump own
		meta nfproto != @alive accept
		meta l4proto { tcp, udp } th dport 53 redirect to :1053
		meta l4proto != tcp accept
		tcp flags & (fin | syn | rst | ack) != syn accept
		jump bypass
		meta l4proto tcp redirect to :7893
	}

	# What comes in.
	chain prerouting {
		type nat hook prerouting priority -105; policy accept;
		iifname "lan0" goto forwarded
		iifname "docker0" goto forwarded
		iifname "br-*" goto forwarded
	}

	# What comes in to be sent on.
	chain forwarded {
		meta mark 0x7 accept
		meta mark & 0xff0000 == 0x40000 accept
		meta nfproto != @alive accept
		meta l4proto { tcp, udp } th dport 53 redirect to :1053
		meta l4proto != tcp accept
		tcp flags & (fin | syn | rst | ack) != syn accept
		jump bypass
		meta l4proto tcp redirect to :7893
	}

	# Nobody answers datagrams to fake addresses: their senders are told.
	chain fake_output {
		type filter hook output priority filter - 10; policy accept;
		meta l4proto != udp accept
		meta nfproto != @alive accept
		ip daddr @fake4 reject with icmpx port-unreachable
		ip6 daddr @fake6 reject with icmpx port-unreachable
	}

	# Nobody answers datagrams to fake addresses: their senders are told.
	chain fake_forward {
		type filter hook forward priority filter - 10; policy accept;
		iifname "lan0" goto fake_forwarded
		iifname "docker0" goto fake_forwarded
		iifname "br-*" goto fake_forwarded
	}

	# Nobody answers datagrams to fake addresses: their senders are told.
	chain fake_forwarded {
		meta l4proto != udp accept
		meta nfproto != @alive accept
		ip daddr @fake4 reject with icmpx port-unreachable
		ip6 daddr @fake6 reject with icmpx port-unreachable
	}
}
EOF

while ip -4 rule del pref 2769 lookup 2769 2>/dev/null; do :; done

ip -4 route flush table 2769 2>/dev/null || :

if [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ]; then
	while ip -6 rule del pref 2769 lookup 2769 2>/dev/null; do :; done
fi

if [ "$(cat /proc/sys/net/ipv6/conf/lo/disable_ipv6 2>/dev/null)" = 0 ]; then
	ip -6 route flush table 2769 2>/dev/null || :
fi
