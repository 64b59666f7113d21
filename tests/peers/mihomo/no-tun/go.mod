module github.com/metacubex/sing-tun

go 1.20
