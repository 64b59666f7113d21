package main

import (
	"fmt"
	"net/netip"

	"github.com/metacubex/mihomo/adapter/inbound"
	"github.com/metacubex/mihomo/listener/http"
	"github.com/metacubex/mihomo/listener/mixed"
	"github.com/metacubex/mihomo/listener/redir"
	"github.com/metacubex/mihomo/listener/socks"
	"github.com/metacubex/mihomo/listener/tproxy"
	"github.com/metacubex/mihomo/tunnel"
)

// doors are the inbound listeners: on loopback, or on every address with allow-lan.
type doors struct {
	Port       int  `yaml:"port"`
	SocksPort  int  `yaml:"socks-port"`
	MixedPort  int  `yaml:"mixed-port"`
	RedirPort  int  `yaml:"redir-port"`
	TProxyPort int  `yaml:"tproxy-port"`
	AllowLan   bool `yaml:"allow-lan"`
}

func (d doors) listen() error {
	// The default of Mihomo's own configuration; without one, everybody is refused.
	inbound.SetAllowedIPs([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")})
	for _, door := range []struct {
		port int
		open func(address string) error
	}{
		{d.Port, func(address string) error {
			_, err := http.New(address, tunnel.Tunnel)
			return err
		}},
		{d.SocksPort, func(address string) error {
			if _, err := socks.New(address, tunnel.Tunnel); err != nil {
				return err
			}
			_, err := socks.NewUDP(address, tunnel.Tunnel)
			return err
		}},
		{d.MixedPort, func(address string) error {
			if _, err := mixed.New(address, tunnel.Tunnel); err != nil {
				return err
			}
			_, err := socks.NewUDP(address, tunnel.Tunnel)
			return err
		}},
		{d.RedirPort, func(address string) error {
			if _, err := redir.New(address, tunnel.Tunnel); err != nil {
				return err
			}
			_, err := tproxy.NewUDP(address, tunnel.Tunnel)
			return err
		}},
		{d.TProxyPort, func(address string) error {
			if _, err := tproxy.New(address, tunnel.Tunnel); err != nil {
				return err
			}
			_, err := tproxy.NewUDP(address, tunnel.Tunnel)
			return err
		}},
	} {
		if door.port == 0 {
			continue
		}
		if err := door.open(d.address(door.port)); err != nil {
			return err
		}
	}
	return nil
}

// address is what Mihomo's own command makes of a port and the default bind-address.
func (d doors) address(port int) string {
	if d.AllowLan {
		return fmt.Sprintf(":%d", port)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}
