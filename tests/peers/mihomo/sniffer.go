package main

import (
	"fmt"
	"strings"

	"github.com/metacubex/mihomo/common/utils"
	"github.com/metacubex/mihomo/component/sniffer"
	types "github.com/metacubex/mihomo/constant/sniffer"
	"github.com/metacubex/mihomo/tunnel"
)

// snifferConfig is the part of Mihomo's sniffer section that tests use.
type snifferConfig struct {
	Enable              bool                  `yaml:"enable"`
	ForceDNSMapping     bool                  `yaml:"force-dns-mapping"`
	ParsePureIP         bool                  `yaml:"parse-pure-ip"`
	OverrideDestination bool                  `yaml:"override-destination"`
	Sniff               map[string]sniffPorts `yaml:"sniff"`
}

type sniffPorts struct {
	Ports               []string `yaml:"ports"`
	OverrideDestination *bool    `yaml:"override-destination"`
}

// snifferDefaults are those of Mihomo's own configuration.
var snifferDefaults = snifferConfig{ForceDNSMapping: true, ParsePureIP: true, OverrideDestination: true}

// start gives the tunnel its sniffer.
func (c snifferConfig) start() error {
	sniffers := make(map[types.Type]sniffer.SnifferConfig)
	for name, entry := range c.Sniff {
		kind, ok := protocol(name)
		if !ok {
			return fmt.Errorf("sniffer: %q is no protocol", name)
		}
		ports, err := utils.NewUnsignedRangesFromList[uint16](entry.Ports)
		if err != nil {
			return fmt.Errorf("sniffer: %w", err)
		}
		override := c.OverrideDestination
		if entry.OverrideDestination != nil {
			override = *entry.OverrideDestination
		}
		sniffers[kind] = sniffer.SnifferConfig{Ports: ports, OverrideDest: override}
	}
	dispatcher, err := sniffer.NewDispatcher(&sniffer.Config{
		Enable:          c.Enable,
		Sniffers:        sniffers,
		ForceDnsMapping: c.ForceDNSMapping,
		ParsePureIp:     c.ParsePureIP,
	})
	if err != nil {
		return fmt.Errorf("sniffer: %w", err)
	}
	tunnel.UpdateSniffer(dispatcher)
	return nil
}

func protocol(name string) (types.Type, bool) {
	for _, kind := range types.List {
		if kind.String() == strings.ToUpper(name) {
			return kind, true
		}
	}
	return 0, false
}
