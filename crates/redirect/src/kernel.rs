//! What an `nft` error means.

/// Kernel features that a rule needs, by a word of the rule: `CONFIG_` names, and modules that may be missing.
const FEATURES: [(&str, &str); 8] = [
    ("tproxy", "CONFIG_NFT_TPROXY (module nft_tproxy)"),
    ("socket cgroupv2", "CONFIG_NFT_SOCKET (module nft_socket)"),
    ("redirect", "CONFIG_NFT_REDIR and CONFIG_NFT_NAT (module nft_redir)"),
    ("type nat", "CONFIG_NFT_NAT (module nft_chain_nat)"),
    ("fib ", "CONFIG_NFT_FIB_INET (module nft_fib_inet)"),
    ("ct ", "CONFIG_NFT_CT (module nft_ct)"),
    ("type route", "CONFIG_NF_TABLES_INET, Linux 5.2 or newer"),
    ("update @", "CONFIG_NF_TABLES (dynamic sets), Linux 4.17 or newer"),
];

/// The feature that the kernel lacks, if that is what `said` is about.
///
/// nft prints the kernel's answer, then the rule, then a line that underlines it.
pub(crate) fn missing_feature(said: &str) -> Option<&'static str> {
    let mut lines = said.lines();
    while let Some(line) = lines.next() {
        if line.contains("Operation not supported") || line.contains("No such file or directory") {
            let rule = lines.next()?;
            return FEATURES.iter().find(|(word, _)| rule.contains(word)).map(|(_, feature)| *feature);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_that_the_kernel_refuses_names_what_it_lacks() {
        let said = "/dev/stdin:40:17-60: Error: Could not process rule: No such file or directory\n\
                    \t\tmeta l4proto { tcp, udp } tproxy to :7893 accept\n\t\t^^^^^^";
        assert!(missing_feature(said).unwrap().contains("NFT_TPROXY"));
        assert_eq!(missing_feature("Error: syntax error, unexpected newline\nfoo\n^^^"), None);
        assert_eq!(missing_feature("No such file or directory"), None);
    }
}
