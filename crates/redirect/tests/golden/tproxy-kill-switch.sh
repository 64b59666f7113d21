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

nft -f - <<'EOF'
add table inet adit
delete table inet adit
table inet adit {
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
		type route hook output priority mangle; policy accept;
		oifname "lo" accept
		jump own
		meta l4proto != { tcp, udp } accept
		ct direction reply accept
		tcp flags & (fin | syn | rst | ack) != syn goto established
		th dport 53 accept
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
		iifname "lan0" goto forwarded
		iifname "docker0" goto forwarded
		iifname "br-*" goto forwarded
	}

	# To the listener, as it is; without a listener the packet goes on.
	chain divert {
		meta l4proto { tcp, udp } tproxy to :7893 accept
		drop
	}

	# What was captured at a bridge that filters is given its listener again.
	chain bridged {
		type filter hook prerouting priority -2147483648; policy accept;
		meta mark & 0xff000000 != 0xad000000 accept
		iifname "lan0" goto divert
		iifname "docker0" goto divert
		iifname "br-*" goto divert
	}

	# What comes in to be sent on.
	chain forwarded {
		meta mark 0x7 accept
		meta mark & 0xff0000 == 0x40000 accept
		meta l4proto != { tcp, udp } accept
		ct direction reply accept
		tcp flags & (fin | syn | rst | ack) != syn goto forwarded_established
		th dport 53 accept
		jump bypass
		meta l4proto { tcp, udp } tproxy to :7893 meta mark set meta mark & 0x00ffffff | 0xad000000 ct mark set ct mark & 0x00ffffff | 0xad000000 accept
		drop
	}

	# A connection stays where it began.
	chain forwarded_established {
		meta l4proto tcp ct mark & 0xff000000 == 0xad000000 tproxy to :7893 meta mark set meta mark & 0x00ffffff | 0xad000000 accept
	}

	# Questions go to the proxy, whoever was asked.
	chain dns_output {
		type nat hook output priority -105; policy accept;
		oifname "lo" accept
		jump own
		meta l4proto { tcp, udp } th dport 53 redirect to :1053
	}

	# Questions go to the proxy, whoever was asked.
	chain dns_prerouting {
		type nat hook prerouting priority -105; policy accept;
		iifname "lan0" goto dns_forwarded
		iifname "docker0" goto dns_forwarded
		iifname "br-*" goto dns_forwarded
	}

	# Questions go to the proxy, whoever was asked.
	chain dns_forwarded {
		meta mark 0x7 accept
		meta mark & 0xff0000 == 0x40000 accept
		meta l4proto { tcp, udp } th dport 53 redirect to :1053
	}

	# Connections that others opened: they are answered.
	chain guard_inbound {
		type filter hook prerouting priority mangle + 5; policy accept;
		iifname "lo" accept
		iifname "lan0" accept
		iifname "docker0" accept
		iifname "br-*" accept
		meta l4proto != tcp accept
		tcp flags & (fin | syn | rst | ack) != syn accept
		ct state new ct mark set ct mark & 0x00ffffff | 0xae000000
	}

	# What was not captured and is not let through ends here.
	chain guard_output {
		type filter hook output priority filter + 10; policy accept;
		oifname "lo" accept
		meta mark & 0xff000000 == 0xad000000 accept
		jump own
		udp sport { 51820 } accept
		icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
		jump bypass
		meta l4proto tcp ct direction reply ct mark & 0xff000000 == 0xae000000 accept
		counter drop
	}

	# What was not captured and is not let through ends here.
	chain guard_forward {
		type filter hook forward priority filter - 10; policy accept;
		iifname "lan0" goto guard_forwarded
		iifname "docker0" goto guard_forwarded
		iifname "br-*" goto guard_forwarded
	}

	# What was not captured and is not let through ends here.
	chain guard_forwarded {
		meta mark 0x7 accept
		meta mark & 0xff0000 == 0x40000 accept
		icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
		jump bypass
		meta l4proto tcp ct direction reply ct mark & 0xff000000 == 0xae000000 accept
		counter drop
	}

	# What was captured never leaves.
	chain guard_leaving {
		type filter hook postrouting priority mangle; policy accept;
		oifname != "lo" meta mark & 0xff000000 == 0xad000000 counter drop
	}
}
EOF
