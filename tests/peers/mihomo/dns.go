package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/metacubex/mihomo/component/fakeip"
	"github.com/metacubex/mihomo/component/resolver"
	"github.com/metacubex/mihomo/component/trie"
	"github.com/metacubex/mihomo/constant"
	"github.com/metacubex/mihomo/dns"
)

// dnsConfig is the part of Mihomo's dns section that tests use.
type dnsConfig struct {
	Enable          bool             `yaml:"enable"`
	IPv6            bool             `yaml:"ipv6"`
	Listen          string           `yaml:"listen"`
	UseHosts        bool             `yaml:"use-hosts"`
	EnhancedMode    constant.DNSMode `yaml:"enhanced-mode"`
	FakeIPRange     string           `yaml:"fake-ip-range"`
	FakeIPRange6    string           `yaml:"fake-ip-range6"`
	FakeIPFilter    []string         `yaml:"fake-ip-filter"`
	FakeIPTTL       int              `yaml:"fake-ip-ttl"`
	NameServer      []string         `yaml:"nameserver"`
	CacheMaxSize    int              `yaml:"cache-max-size"`
	CacheAlgorithm  string           `yaml:"cache-algorithm"`
	DefaultResolver []string         `yaml:"default-nameserver"`
}

// dnsDefaults are those of Mihomo's own configuration, except that no name is left out of the fake addresses and no public
// server is known.
var dnsDefaults = dnsConfig{UseHosts: true, EnhancedMode: constant.DNSMapping, FakeIPRange: "198.18.0.1/16", FakeIPTTL: 1}

// start does what Mihomo's own command does with the section: everything that resolves uses it from now on.
func (c dnsConfig) start(ipv6 bool) error {
	if !c.Enable {
		return nil
	}
	main, err := nameServers(c.NameServer)
	if err != nil {
		return err
	}
	first, err := nameServers(c.DefaultResolver)
	if err != nil {
		return err
	}
	ipv6 = ipv6 && c.IPv6
	enhancer := dns.EnhancerConfig{IPv6: ipv6, EnhancedMode: c.EnhancedMode, UseHosts: c.UseHosts, FakeIPTTL: c.FakeIPTTL}
	if c.EnhancedMode == constant.DNSFakeIP {
		if err := c.fake(&enhancer); err != nil {
			return err
		}
	}
	resolvers := dns.NewResolver(dns.Config{
		Main:           main,
		Default:        first,
		IPv6:           ipv6,
		CacheAlgorithm: c.CacheAlgorithm,
		CacheMaxSize:   c.CacheMaxSize,
	})
	mapper := dns.NewEnhancer(enhancer)
	service := dns.NewService(resolvers, mapper)
	resolver.DefaultResolver = resolvers
	resolver.DefaultHostMapper = mapper
	resolver.DefaultService = service
	resolver.ProxyServerHostResolver = resolvers.Resolver
	resolver.DirectHostResolver = resolvers.Resolver
	dns.ReCreateServer(c.Listen, service)
	return nil
}

// fake makes the pools of fake addresses, in memory as by default.
func (c dnsConfig) fake(enhancer *dns.EnhancerConfig) error {
	skipper := &fakeip.Skipper{Mode: constant.FilterBlackList}
	if len(c.FakeIPFilter) > 0 {
		names := trie.New[struct{}]()
		for _, name := range c.FakeIPFilter {
			if err := names.Insert(name, struct{}{}); err != nil {
				return fmt.Errorf("dns.fake-ip-filter: %q: %w", name, err)
			}
		}
		skipper.Host = []constant.DomainMatcher{names.NewDomainSet()}
	}
	v4, err := pool(c.FakeIPRange)
	if err != nil {
		return err
	}
	v6, err := pool(c.FakeIPRange6)
	if err != nil {
		return err
	}
	if v4 == nil && v6 == nil {
		return errors.New("dns: no range of fake addresses")
	}
	enhancer.FakeIPSkipper, enhancer.FakeIPPool, enhancer.FakeIPPool6 = skipper, v4, v6
	return nil
}

// pool is none for an empty range.
func pool(text string) (*fakeip.Pool, error) {
	if text == "" {
		return nil, nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	// The size that Mihomo's own command gives it.
	return fakeip.New(fakeip.Options{IPNet: prefix, Size: 1000})
}

// nameServers reads addresses of DNS servers, also those that a layer-3 proxy asks through itself. Mihomo's own reader is
// in a package that links the TUN device.
func nameServers(urls []string) ([]dns.NameServer, error) {
	var servers []dns.NameServer
	for _, url := range urls {
		address, ok := strings.CutPrefix(url, "udp://")
		if _, err := netip.ParseAddrPort(address); !ok || err != nil {
			return nil, fmt.Errorf("dns: %q is not udp://ADDRESS:PORT", url)
		}
		servers = append(servers, dns.NameServer{Addr: address})
	}
	return servers, nil
}
