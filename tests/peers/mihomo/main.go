// Command mihomo runs the real Mihomo core as a peer for tests and benchmarks: its inbound listeners, its DNS server, its
// sniffer, its tunnel, its rules and its outbounds, all unchanged, started from the part of a Mihomo configuration that
// those tests use.
//
// It is not Mihomo's own command, because that one links the TUN device, whose module cannot be verified through the
// checksum database. Keys read: port, socks-port, mixed-port, redir-port, tproxy-port, allow-lan, authentication,
// log-level, ipv6, routing-mark, hosts, dns (those of dns.go), sniffer (those of sniffer.go), proxies, rules. Unknown keys
// are an error, so that a test never believes in a setting that is not there. DNS servers are plain UDP ones,
// `udp://ADDRESS:PORT`.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/metacubex/mihomo/adapter"
	"github.com/metacubex/mihomo/adapter/outbound"
	"github.com/metacubex/mihomo/component/auth"
	"github.com/metacubex/mihomo/component/dialer"
	"github.com/metacubex/mihomo/component/resolver"
	"github.com/metacubex/mihomo/component/trie"
	"github.com/metacubex/mihomo/constant"
	"github.com/metacubex/mihomo/dns"
	authStore "github.com/metacubex/mihomo/listener/auth"
	"github.com/metacubex/mihomo/log"
	"github.com/metacubex/mihomo/rules"
	"github.com/metacubex/mihomo/tunnel"
	"gopkg.in/yaml.v3"
)

type config struct {
	doors          `yaml:",inline"`
	Authentication []string          `yaml:"authentication"`
	LogLevel       log.LogLevel      `yaml:"log-level"`
	IPv6           *bool             `yaml:"ipv6"`
	RoutingMark    int32             `yaml:"routing-mark"`
	Hosts          map[string]string `yaml:"hosts"`
	DNS            dnsConfig         `yaml:"dns"`
	Sniffer        snifferConfig     `yaml:"sniffer"`
	Proxies        []map[string]any  `yaml:"proxies"`
	Rules          []string          `yaml:"rules"`
}

func main() {
	path := flag.String("f", "config.yaml", "configuration file")
	flag.Parse()
	if err := run(*path); err != nil {
		fmt.Fprintln(os.Stderr, "mihomo:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	cfg := config{LogLevel: log.INFO, DNS: dnsDefaults, Sniffer: snifferDefaults}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&cfg); err != nil {
		return err
	}
	log.SetLevel(cfg.LogLevel)
	resolver.DisableIPv6 = cfg.IPv6 != nil && !*cfg.IPv6
	dialer.DefaultRoutingMark.Store(cfg.RoutingMark)
	if err := plan(cfg); err != nil {
		return err
	}
	if err := cfg.DNS.start(!resolver.DisableIPv6); err != nil {
		return err
	}
	if err := cfg.Sniffer.start(); err != nil {
		return err
	}
	if err := cfg.doors.listen(); err != nil {
		return err
	}
	tunnel.OnRunning()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
	return nil
}

// plan gives the tunnel its users, ways out and rules.
func plan(cfg config) error {
	var users []auth.AuthUser
	for _, line := range cfg.Authentication {
		if user, pass, ok := strings.Cut(line, ":"); ok {
			users = append(users, auth.AuthUser{User: user, Pass: pass})
		}
	}
	authStore.Default.SetAuthenticator(auth.NewAuthenticator(users))

	hosts := trie.New[resolver.HostValue]()
	for name, address := range cfg.Hosts {
		value, err := resolver.NewHostValue([]string{address})
		if err != nil {
			return fmt.Errorf("hosts: %w", err)
		}
		if err := hosts.Insert(name, value); err != nil {
			return fmt.Errorf("hosts: %w", err)
		}
	}
	resolver.DefaultHosts = resolver.NewHosts(hosts)

	dns.ParseNameServer = nameServers
	proxies := map[string]constant.Proxy{
		"DIRECT": adapter.NewProxy(outbound.NewDirect()),
		"REJECT": adapter.NewProxy(outbound.NewReject()),
	}
	for _, mapping := range cfg.Proxies {
		proxy, err := adapter.ParseProxy(mapping)
		if err != nil {
			return err
		}
		proxies[proxy.Name()] = proxy
	}
	tunnel.UpdateProxies(proxies, nil)

	var list []constant.Rule
	for _, line := range cfg.Rules {
		parts := strings.Split(line, ",")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		kind, payload, target, params := parts[0], "", "", []string(nil)
		switch {
		case len(parts) == 2:
			target = parts[1]
		case len(parts) > 2:
			payload, target, params = parts[1], parts[2], parts[3:]
		}
		rule, err := rules.ParseRule(kind, payload, target, params, nil)
		if err != nil {
			return fmt.Errorf("rule %q: %w", line, err)
		}
		list = append(list, rule)
	}
	tunnel.UpdateRules(list, nil, nil)
	return nil
}
