//! How wide a network may be whose clients are trusted for their address: by relaying, as devices, or as front ends.
//!
//! [`too_wide`] says what no reason makes right, [`wants_reason`] what needs one in writing, and [`is_too_much_together`] bounds a
//! whole list. Private space is ours to number; of public space each part is somebody else's, so that little of it is taken.
//! An IPv6 network that stands for IPv4 addresses is judged as those: who lists `64:ff9b::/96` lists everybody that a NAT64
//! lets through, and who lists `2002::/16` lists everybody.
//!
//! What it deliberately does not do: prove that a configuration is closed. `closed` does that, and knows nothing of the
//! lengths here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// No shorter prefix is taken, of anybody's space.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 16;
/// No shorter prefix is taken of public space: an IPv4 /16 is a large provider's region, an IPv6 /32 a whole provider.
const SHORTEST_PUBLIC_V4: u8 = 16;
const SHORTEST_PUBLIC_V6: u8 = 32;
/// Public networks of these lengths and shorter are more than one site is given (RFC 6177 §2).
const WIDE_PUBLIC_V4: u8 = 20;
const WIDE_PUBLIC_V6: u8 = 48;
/// All IPv4 networks together hold at most so many addresses: the private ones and as many again.
const MOST_V4: u64 = 1 << 25;
/// All IPv6 networks together hold at most so many /64.
const MOST_V6: u64 = 1 << 49;
/// The public ones of them hold at most so much: four of the widest.
const MOST_PUBLIC_V4: u64 = 4 << 16;
const MOST_PUBLIC_V6: u64 = 4 << 32;

/// Space that is nobody's on the Internet: RFC 1918, RFC 6598, RFC 1122 §3.2.1.3, RFC 3927, RFC 4193, RFC 4291 §2.5.6.
static PRIVATE: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    let v4 =
        ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"];
    let all = v4.into_iter().chain(["fc00::/7", "fe80::/10"]);
    all.filter_map(|network| network.parse().ok()).collect()
});

/// IPv6 addresses that stand for IPv4 ones.
struct Translated {
    of: Ipv6Net,
    /// Where the IPv4 address begins in them, in bits.
    at: u8,
    spelling: Spelling,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Plain,
    /// Each bit is turned round.
    Inverted,
}

const TRANSLATED: [Translated; 7] = [
    // NAT64's own prefix (RFC 6052 §2.1), and the one for operators' own (RFC 8215): the latter is taken as its longest form.
    translated([0x64, 0xff9b, 0, 0, 0, 0], 96, 96),
    translated([0x64, 0xff9b, 1, 0, 0, 0], 48, 96),
    // 6to4 (RFC 3056 §2).
    translated([0x2002, 0, 0, 0, 0, 0], 16, 16),
    // Teredo (RFC 4380 §4).
    Translated { spelling: Spelling::Inverted, ..translated([0x2001, 0, 0, 0, 0, 0], 32, 96) },
    // IPv4-compatible and IPv4-mapped (RFC 4291 §2.5.5), IPv4-translated (RFC 2765 §2.1).
    translated([0, 0, 0, 0, 0, 0], 96, 96),
    translated([0, 0, 0, 0, 0, 0xffff], 96, 96),
    translated([0, 0, 0, 0, 0xffff, 0], 96, 96),
];

const fn translated(first: [u16; 6], length: u8, at: u8) -> Translated {
    let address = Ipv6Addr::new(first[0], first[1], first[2], first[3], first[4], first[5], 0, 0);
    let of = Ipv6Net::new_assert(address, length);
    Translated { of, at, spelling: Spelling::Plain }
}

/// What is wrong with trusting everybody in a network, whatever the reason; it goes on behind the network's name.
pub(super) fn too_wide(network: IpNet) -> Option<String> {
    let open = "this is an open relay";
    if network.prefix_len() == 0 {
        return Some(format!("is everybody: {open}"));
    }
    if let Some(v4) = ipv4_in(network) {
        let wide = v4.prefix_len() < SHORTEST_PUBLIC_V4;
        return wide.then(|| {
            format!("stands for the IPv4 addresses {v4}, wider than a /{SHORTEST_PUBLIC_V4}: {open}")
        });
    }
    let (any, public) = match network {
        IpNet::V4(_) => (SHORTEST_V4, SHORTEST_PUBLIC_V4),
        IpNet::V6(_) => (SHORTEST_V6, SHORTEST_PUBLIC_V6),
    };
    let length = network.prefix_len();
    if length < any {
        return Some(format!("is wider than a /{any}: {open}"));
    }
    (length < public && !is_private(network))
        .then(|| format!("is wider than a /{public} of public addresses: {open}"))
}

/// Whether a network holds so many public addresses that it takes a written reason to trust them all.
pub(super) fn wants_reason(network: IpNet) -> bool {
    let meant = ipv4_in(network).map_or(network, IpNet::V4);
    let wide = match meant {
        IpNet::V4(v4) => v4.prefix_len() <= WIDE_PUBLIC_V4,
        IpNet::V6(v6) => v6.prefix_len() <= WIDE_PUBLIC_V6,
    };
    wide && !is_private(network)
}

/// Whether networks that are narrow enough each are too wide as a whole.
pub(super) fn is_too_much_together(all: &[IpNet]) -> bool {
    let meant: Vec<IpNet> = all.iter().map(|network| ipv4_in(*network).map_or(*network, IpNet::V4)).collect();
    let (mut v4, mut v6, mut public_v4, mut public_v6) = (0_u64, 0_u64, 0_u64, 0_u64);
    for network in IpNet::aggregate(&meant) {
        let (size, all, public) = match network {
            IpNet::V4(net) => (1 << (32 - net.prefix_len()), &mut v4, &mut public_v4),
            IpNet::V6(net) => (1 << 64_u8.saturating_sub(net.prefix_len()).min(63), &mut v6, &mut public_v6),
        };
        *all = all.saturating_add(size);
        if !is_private(network) {
            *public = public.saturating_add(size);
        }
    }
    v4 > MOST_V4 || v6 > MOST_V6 || public_v4 > MOST_PUBLIC_V4 || public_v6 > MOST_PUBLIC_V6
}

fn is_private(network: IpNet) -> bool {
    PRIVATE.iter().any(|private| private.contains(&network))
}

/// The IPv4 addresses that a network, or a part of it, stands for.
fn ipv4_in(network: IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(v6) = network else { return None };
    let overlaps = |known: &&Translated| known.of.contains(&v6) || v6.contains(&known.of);
    let Translated { at, spelling, .. } = TRANSLATED.iter().find(overlaps)?;
    // RFC 6052 §2.2: 32 bits from there on, of which the network fixes so many.
    let length = v6.prefix_len().saturating_sub(*at).min(32);
    let bits = v6.network().to_bits() >> (96 - at) & u128::from(u32::MAX);
    let bits = u32::try_from(bits).unwrap_or(u32::MAX);
    let bits = if *spelling == Spelling::Inverted { !bits } else { bits };
    Ipv4Net::new(Ipv4Addr::from_bits(bits), length).ok().map(|net| net.trunc())
}

/// The network as clients' addresses are compared with it: an IPv4-mapped one (RFC 4291 §2.5.5.2) is IPv4.
pub(super) fn canonical(network: IpNet) -> IpNet {
    let network = network.trunc();
    let IpAddr::V6(address) = network.network() else { return network };
    let length = network.prefix_len().checked_sub(96);
    let v4 = address.to_ipv4_mapped().zip(length);
    v4.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        canonical(text.parse().unwrap())
    }

    #[test]
    fn no_disguise_makes_everybody_acceptable() {
        for everybody in [
            "0.0.0.0/0",
            "::/0",
            "::ffff:0.0.0.0/96",
            "::/16",
            "::/80",
            "0.0.0.0/7",
            "2000::/3",
            "::ffff:1.2.3.4/98",
            "64:ff9b::/96",
            "64:ff9b::/32",
            "64:ff9b:1::/48",
            "64:ff9b:1::/96",
            "64:ff9b:1:aaaa::/64",
            "64:ff9b::300:0/104",
            "2002::/16",
            "2002:300::/24",
            "2001::/32",
            "2001::/23",
            "2001:0:4136:e378::/64",
            "::/96",
            "::ffff:0:0:0/96",
            "3.0.0.0/8",
            "3.0.0.0/15",
            "2a00::/16",
            "2a01:4f8::/31",
        ] {
            assert!(too_wide(net(everybody)).is_some(), "{everybody}");
        }
    }

    #[test]
    fn what_a_site_is_numbered_from_is_no_open_relay() {
        for own in [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "fd00::/16",
            "::1/128",
            "192.0.2.0/24",
            "2001:db8:7:1::/64",
            "2002:c000:204::/48",
            "64:ff9b::c000:200/120",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2/128",
        ] {
            assert_eq!(too_wide(net(own)), None, "{own}");
            assert!(!wants_reason(net(own)), "{own}");
        }
    }

    #[test]
    fn more_than_a_site_of_public_space_wants_a_reason() {
        for wide in [
            "198.51.0.0/16",
            "198.51.96.0/20",
            "2001:db8::/32",
            "2001:db8:7::/48",
            "2002:c633::/32",
            "64:ff9b::c633:6000/116",
        ] {
            assert_eq!(too_wide(net(wide)), None, "{wide}");
            assert!(wants_reason(net(wide)), "{wide}");
        }
    }

    #[test]
    fn the_ipv4_addresses_are_found_wherever_they_stand() {
        for (network, meant) in [
            ("64:ff9b::192.0.2.0/120", "192.0.2.0/24"),
            ("2002:c000:0200::/40", "192.0.2.0/24"),
            // Its client is 192.0.2.45 (RFC 4380 §4).
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2/128", "192.0.2.45/32"),
            ("::192.0.2.0/124", "192.0.2.0/28"),
            ("::/90", "0.0.0.0/0"),
        ] {
            assert_eq!(ipv4_in(network.parse().unwrap()), Some(meant.parse().unwrap()), "{network}");
        }
        assert_eq!(ipv4_in(net("2001:db8::/32")), None);
    }

    #[test]
    fn a_mapped_network_is_compared_as_ipv4() {
        assert_eq!(net("::ffff:192.0.2.0/124"), "192.0.2.0/28".parse().unwrap());
        assert_eq!(net("2001:db8::1/64"), "2001:db8::/64".parse().unwrap());
        assert_eq!(net("::ffff:0:0/95"), "::fffe:0:0/95".parse().unwrap());
    }

    #[test]
    fn many_pieces_do_not_make_the_internet() {
        let whole = |networks: &[&str]| {
            let networks: Vec<_> = networks.iter().map(|network| network.parse().unwrap()).collect();
            is_too_much_together(&networks)
        };
        assert!(!whole(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/16"]));
        assert!(whole(&["1.0.0.0/8", "2.0.0.0/8", "3.0.0.0/8"]));
        assert!(whole(&["2000::/16", "2001::/16", "2002::/16"]));
        assert!(!whole(&["3.1.0.0/16", "3.3.0.0/16", "3.5.0.0/16", "3.7.0.0/16"]));
        assert!(whole(&["3.1.0.0/16", "3.3.0.0/16", "3.5.0.0/16", "3.7.0.0/16", "192.0.2.1/32"]));
        assert!(whole(&["3.1.0.0/16", "3.3.0.0/16", "3.5.0.0/16", "2002:307::/32", "64:ff9b::309:0/112"]));
    }

    proptest! {
        /// However a part of the IPv4 Internet is spelled, it is as wide as it is.
        #[test]
        fn an_ipv4_network_is_judged_alike_in_every_spelling(bits in any::<u32>(), length in 0..=32_u8) {
            let v4 = Ipv4Net::new(Ipv4Addr::from_bits(bits), length).unwrap().trunc();
            prop_assume!(!is_private(v4.into()));
            let (low, wide) = (u128::from(v4.addr().to_bits()), too_wide(v4.into()).is_some());
            let spelled = [
                (0x0064_ff9b_u128 << 96 | low, 96),
                (0x0064_ff9b_0001 << 80 | low, 96),
                (0x2002 << 112 | low << 80, 16),
                (0x2001_u128 << 112 | u128::from(!v4.addr().to_bits()), 96),
                (low, 96),
                (0xffff_u128 << 48 | low, 96),
                (0xffff_u128 << 32 | low, 96),
            ];
            for (bits, at) in spelled {
                let network = canonical(Ipv6Net::new(Ipv6Addr::from_bits(bits), at + length).unwrap().into());
                prop_assert_eq!(too_wide(network).is_some(), wide, "{}", network);
                prop_assert_eq!(wants_reason(network), wants_reason(v4.into()), "{}", network);
            }
        }
    }
}
