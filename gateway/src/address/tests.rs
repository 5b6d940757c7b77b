#![allow(clippy::unwrap_used)]
use super::*;
use std::net::SocketAddr;

fn addresses(trusted: &[&str], per_address: PerAddress) -> Addresses {
    let trusted = trusted.iter().map(|net| net.parse().unwrap()).collect();
    Addresses::new(trusted, false, per_address)
}

fn peer(address: &str) -> Peer {
    Peer {
        address: address.parse().unwrap(),
        is_announced: false,
    }
}

#[test]
fn only_what_trusted_proxies_wrote_is_believed() {
    let table: &[(&str, &[&str], &str)] = &[
        // Nobody trusted said it.
        ("203.0.113.9", &["1.1.1.1"], "203.0.113.9"),
        ("203.0.113.9", &[], "203.0.113.9"),
        // One proxy, and two.
        ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", &["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", &["203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        // What the client itself wrote, in one line or several.
        ("10.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", &["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
        (
            "10.0.0.1",
            &["10.0.0.7, 203.0.113.9, 10.0.0.2"],
            "203.0.113.9",
        ),
        (
            "10.0.0.1",
            &["127.0.0.1, 10.0.0.5, 203.0.113.9"],
            "203.0.113.9",
        ),
        // Rubbish ends it at the last who is known.
        ("10.0.0.1", &["1.1.1.1, rubbish"], "10.0.0.1"),
        ("10.0.0.1", &["1.1.1.1, "], "10.0.0.1"),
        ("10.0.0.1", &[""], "10.0.0.1"),
        ("10.0.0.1", &["1.1.1.1, 10.0.0.2.3, 10.0.0.3"], "10.0.0.3"),
        // A request of a proxy's own.
        ("10.0.0.1", &["10.0.0.2"], "10.0.0.2"),
        // Spellings.
        ("10.0.0.1", &["203.0.113.9:51234"], "203.0.113.9"),
        ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", &["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", &["[2001:db8::7]:443"], "2001:db8::7"),
        ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
        ("fd00::1", &["2001:db8::7"], "2001:db8::7"),
        ("fe00::1", &["2001:db8::7"], "fe00::1"),
    ];
    let addresses = addresses(&["10.0.0.0/8", "fd00::/8"], PerAddress::default());
    for (from, lines, expected) in table {
        let mut headers = HeaderMap::new();
        for line in *lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let client = addresses.client(peer(from), &headers);
        assert_eq!(
            client.address,
            expected.parse::<IpAddr>().unwrap(),
            "{from} {lines:?}"
        );
    }
    let mut endless = HeaderMap::new();
    endless.insert("x-forwarded-for", "10.0.0.2,".repeat(1000).parse().unwrap());
    addresses.client(peer("10.0.0.1"), &endless);
}

#[test]
fn places_come_back_and_nothing_is_left() {
    let addresses = addresses(
        &["10.0.0.0/8"],
        PerAddress {
            connections: 2,
            ..PerAddress::default()
        },
    );
    let first = addresses.enter(peer("203.0.113.9")).unwrap();
    let second = addresses.enter(peer("203.0.113.9")).unwrap();
    assert!(first.is_some() && second.is_some());
    assert_eq!(addresses.enter(peer("203.0.113.9")).unwrap_err(), TooMany);
    let other = addresses.enter(peer("203.0.113.10")).unwrap();
    drop(first);
    let again = addresses.enter(peer("203.0.113.9")).unwrap();
    assert!(again.is_some());
    // Proxies and this machine have any number.
    for free in ["10.0.0.1", "127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        assert!(addresses.enter(peer(free)).unwrap().is_none(), "{free}");
    }
    // A network of IPv6 is one address.
    let _third = addresses.enter(peer("2001:db8::1")).unwrap();
    let _fourth = addresses.enter(peer("2001:db8::2")).unwrap();
    assert_eq!(
        addresses.enter(peer("2001:db8::ffff:3")).unwrap_err(),
        TooMany
    );
    addresses.enter(peer("2001:db8:0:1::1")).unwrap();
    drop((second, other, again, _third, _fourth));
    assert!(addresses.crowd.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn requests_and_handshakes_are_counted_by_address() {
    let per_address = PerAddress {
        connections: 0,
        handshakes: 1,
        requests: 2,
    };
    let addresses = addresses(&[], per_address);
    let (one, other) = (peer("203.0.113.9"), peer("203.0.113.10"));
    for _ in 0..10 {
        addresses.handshake(one).unwrap();
    }
    assert!(addresses.handshake(one).is_err());
    addresses.handshake(other).unwrap();
    for _ in 0..20 {
        addresses.request(one).unwrap();
    }
    assert!(addresses.request(one).is_err());
    // This machine is not counted, unless a proxy says that a client is at it.
    let (own, said) = (
        peer("127.0.0.1"),
        Peer {
            is_announced: true,
            ..peer("127.0.0.1")
        },
    );
    for _ in 0..100 {
        addresses.request(own).unwrap();
    }
    assert!((0..21).any(|_| addresses.request(said).is_err()));
    // Nor is a trusted proxy, whoever says it is one.
    let trusting = self::addresses(&["127.0.0.0/8"], per_address);
    for _ in 0..100 {
        trusting.request(said).unwrap();
        trusting.handshake(said).unwrap();
    }
    tokio::time::advance(std::time::Duration::from_millis(1_001)).await;
    addresses.handshake(one).unwrap();
    addresses.request(one).unwrap();
}

async fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, BadProxyHeader>, Vec<u8>) {
    let mut rest = bytes;
    let read = announced(&mut rest).await;
    (read, rest.to_vec())
}

#[tokio::test]
async fn proxy_headers_are_read_and_no_byte_more() {
    let tcp4 = [
        &b"\r\n\r\n\0\r\nQUIT\n"[..],
        &[
            0x21, 0x11, 0, 12, 203, 0, 113, 9, 10, 0, 0, 1, 0x1f, 0x90, 0, 80,
        ],
    ]
    .concat();
    let mut with_more = tcp4.clone();
    with_more[15] = 12 + 7;
    with_more.extend([0x04, 0, 4, 0, 0, 0, 0]);
    let local = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20, 0x00, 0, 0]].concat();
    let mut tcp6 = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, 0x21, 0, 36]].concat();
    tcp6.extend("2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
    tcp6.extend([0; 16]);
    tcp6.extend([0x1f, 0x90, 0, 80]);
    let good: &[(&[u8], Option<&str>)] = &[
        (
            b"PROXY TCP4 203.0.113.9 10.0.0.1 8080 80\r\n",
            Some("203.0.113.9:8080"),
        ),
        (
            b"PROXY TCP6 2001:db8::7 fd00::1 8080 80\r\n",
            Some("[2001:db8::7]:8080"),
        ),
        (b"PROXY UNKNOWN\r\n", None),
        (
            b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
            None,
        ),
        (&tcp4, Some("203.0.113.9:8080")),
        (&with_more, Some("203.0.113.9:8080")),
        (&tcp6, Some("[2001:db8::7]:8080")),
        (&local, None),
    ];
    for (header, expected) in good {
        let expected = expected.map(|text| text.parse().unwrap());
        let (found, rest) = read(&[header, &b"GET / HTTP/1.1\r\n"[..]].concat()).await;
        assert_eq!(found.unwrap(), expected, "{}", header.escape_ascii());
        assert_eq!(rest, b"GET / HTTP/1.1\r\n");
        // Cut off anywhere it is an error, and never taken for something else.
        for end in 0..header.len() {
            assert!(
                read(&header[..end]).await.0.is_err(),
                "{} of {}",
                end,
                header.escape_ascii()
            );
        }
    }
    let long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
    let mut huge = tcp4.clone();
    huge[14] = 0xff;
    huge.extend([0; 70_000]);
    let mut version = tcp4.clone();
    version[12] = 0x31;
    let mut command = tcp4.clone();
    command[12] = 0x2f;
    let bad: &[&[u8]] = &[
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 8080\r\n",
        b"PROXY TCP4 300.0.113.9 10.0.0.1 8080 80\r\n",
        b"PROXY TCP4 203.0.113.9 10.0.0.1 80800 80\r\n",
        b"PROXY UDP4 203.0.113.9 10.0.0.1 8080 80\r\n",
        b"proxy tcp4 203.0.113.9 10.0.0.1 8080 80\r\n",
        &long,
        &huge,
        &version,
        &command,
        &[0; 300],
        &[0xff; 300],
    ];
    for bytes in bad {
        assert!(read(bytes).await.0.is_err(), "{}", bytes.escape_ascii());
    }
}
