// Command mihomo runs the real Mihomo core as a peer for tests and benchmarks: its inbound listeners, its tunnel, its
// rules and its outbounds, all unchanged, started from the part of a Mihomo configuration that those tests use.
//
// It is not Mihomo's own command, because that one links the TUN device, whose module cannot be verified through the
// checksum database. Keys read: port, socks-port, mixed-port, authentication, log-level, ipv6, hosts, proxies,
// rules. Unknown keys are an error, so that a test never believes in a setting that is not there. A proxy's own DNS servers
// are plain UDP ones, `udp://ADDRESS:PORT`.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/metacubex/mihomo/adapter"
	"github.com/metacubex/mihomo/adapter/inbound"
	"github.com/metacubex/mihomo/adapter/outbound"
	"github.com/metacubex/mihomo/component/auth"
	"github.com/metacubex/mihomo/component/resolver"
	"github.com/metacubex/mihomo/component/trie"
	"github.com/metacubex/mihomo/constant"
	"github.com/metacubex/mihomo/dns"
	authStore "github.com/metacubex/mihomo/listener/auth"
	"github.com/metacubex/mihomo/listener/http"
	"github.com/metacubex/mihomo/listener/mixed"
	"github.com/metacubex/mihomo/listener/socks"
	"github.com/metacubex/mihomo/log"
	"github.com/metacubex/mihomo/rules"
	"github.com/metacubex/mihomo/tunnel"
	"gopkg.in/yaml.v3"
)

type config struct {
	Port           int               `yaml:"port"`
	SocksPort      int               `yaml:"socks-port"`
	MixedPort      int               `yaml:"mixed-port"`
	Authentication []string          `yaml:"authentication"`
	LogLevel       log.LogLevel      `yaml:"log-level"`
	IPv6           *bool             `yaml:"ipv6"`
	Hosts          map[string]string `yaml:"hosts"`
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
	cfg := config{LogLevel: log.INFO}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&cfg); err != nil {
		return err
	}
	log.SetLevel(cfg.LogLevel)
	resolver.DisableIPv6 = cfg.IPv6 != nil && !*cfg.IPv6
	if err := plan(cfg); err != nil {
		return err
	}
	if err := listen(cfg); err != nil {
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

// nameServers reads the servers that a layer-3 proxy asks through itself. Mihomo's own reader is in a package that links the
// TUN device.
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

// listen opens the doors on loopback.
func listen(cfg config) error {
	// The default of Mihomo's own configuration; without one, everybody is refused.
	inbound.SetAllowedIPs([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")})
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	if cfg.Port != 0 {
		if _, err := http.New(at(cfg.Port), tunnel.Tunnel); err != nil {
			return err
		}
	}
	for _, door := range []struct {
		port  int
		mixed bool
	}{{cfg.SocksPort, false}, {cfg.MixedPort, true}} {
		if door.port == 0 {
			continue
		}
		var err error
		if door.mixed {
			_, err = mixed.New(at(door.port), tunnel.Tunnel)
		} else {
			_, err = socks.New(at(door.port), tunnel.Tunnel)
		}
		if err != nil {
			return err
		}
		if _, err := socks.NewUDP(at(door.port), tunnel.Tunnel); err != nil {
			return err
		}
	}
	return nil
}
