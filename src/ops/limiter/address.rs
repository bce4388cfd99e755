//! Whose address a request comes from, when proxies of ours stand in front.

use std::net::IpAddr;

/// The peer's address, or the one that the outermost proxy of ours saw. `forwarded` are the entries
/// of `X-Forwarded-For` in order; what stands further left than our proxies is anyone's claim.
pub fn client_address<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted_proxies: usize,
) -> IpAddr {
    let Some(skip) = trusted_proxies.checked_sub(1) else { return peer };
    let seen = forwarded.rev().nth(skip).and_then(|text| text.trim().parse().ok());
    seen.unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_proxies_are_believed() {
        let check = |forwarded: &str, trusted: usize, expected: &str| {
            let peer = "10.0.0.9".parse().expect("an address");
            let found = client_address(peer, forwarded.split(','), trusted);
            assert_eq!(found.to_string(), expected, "{forwarded}");
        };
        check("203.0.113.7", 0, "10.0.0.9");
        check("203.0.113.7", 1, "203.0.113.7");
        check("6.6.6.6, 203.0.113.7", 1, "203.0.113.7");
        check("6.6.6.6, 203.0.113.7, 10.0.0.1", 2, "203.0.113.7");
        check("6.6.6.6", 2, "10.0.0.9");
        check("junk", 1, "10.0.0.9");
        check("", 1, "10.0.0.9");
        check("2001:db8::1", 1, "2001:db8::1");
    }
}
