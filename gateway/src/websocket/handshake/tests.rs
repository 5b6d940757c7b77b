//! Which requests become sockets. The way out of hyper is tested over real connections in `gateway/tests/websocket`.
#![allow(clippy::unwrap_used)]

use http::Request;

use super::*;

/// Headers replaced (`None` takes one away) or, with a `+`, added.
type Changes = &'static [(&'static str, Option<&'static str>)];

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A right handshake, changed.
fn parts(changes: Changes) -> Parts {
    let mut headers = vec![
        ("host", "example.org"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];
    for (name, value) in changes {
        let added = name.strip_prefix('+');
        if added.is_none() {
            headers.retain(|(other, _)| other != name);
        }
        headers.extend(value.map(|value| (added.unwrap_or(name), value)));
    }
    let mut request = Request::builder().uri("/ws");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut request = request.body(()).unwrap();
    let on_upgrade = hyper::upgrade::on(Request::new(()));
    request.extensions_mut().insert(on_upgrade);
    request.into_parts().0
}

#[test]
fn the_key_of_the_rfc() {
    assert_eq!(accept_key(KEY.as_bytes()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn requests_that_become_sockets() {
    let cases: &[Changes] = &[
        &[],
        &[("upgrade", Some("WebSocket"))],
        &[("connection", Some("keep-alive, Upgrade"))],
        &[
            ("connection", Some("keep-alive")),
            ("+connection", Some("upgrade")),
        ],
        &[("content-length", Some("0"))],
        &[(
            "sec-websocket-extensions",
            Some("permessage-deflate; client_max_window_bits"),
        )],
        &[("origin", Some("https://example.org"))],
    ];
    for changes in cases {
        let (response, _) = Upgrade::from_parts(&mut parts(changes)).unwrap().accept();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["upgrade", "connection", "sec-websocket-accept"]);
    }
}

#[test]
fn requests_that_do_not() {
    use HandshakeError::*;
    let cases: &[(Changes, HandshakeError)] = &[
        (&[("upgrade", None)], NotAnUpgrade),
        (&[("connection", None)], NotAnUpgrade),
        (&[("upgrade", Some("h2c"))], NotAnUpgrade),
        (&[("connection", Some("close"))], NotAnUpgrade),
        (&[("sec-websocket-version", None)], Version),
        (&[("sec-websocket-version", Some("8"))], Version),
        (&[("sec-websocket-version", Some("13, 8"))], Version),
        (&[("+sec-websocket-version", Some("13"))], Version),
        (&[("sec-websocket-key", None)], Key),
        (&[("+sec-websocket-key", Some(KEY))], Key),
        (&[("sec-websocket-key", Some(""))], Key),
        (&[("sec-websocket-key", Some("short"))], Key),
        (
            &[("sec-websocket-key", Some("not base64 at all!!!!!!!"))],
            Key,
        ),
        // 15 and 17 bytes; no padding; 16 bytes in the URL alphabet.
        (&[("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25j"))], Key),
        (
            &[("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZWU="))],
            Key,
        ),
        (
            &[("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ"))],
            Key,
        ),
        (
            &[(
                "sec-websocket-key",
                Some("__________________________________8="),
            )],
            Key,
        ),
        (&[("content-length", Some("5"))], Body),
        (&[("transfer-encoding", Some("chunked"))], Body),
    ];
    for (changes, wanted) in cases {
        let error = Upgrade::from_parts(&mut parts(changes)).unwrap_err();
        assert_eq!(error, *wanted, "{changes:?}");
    }
    let mut post = parts(&[]);
    post.method = http::Method::POST;
    assert_eq!(Upgrade::from_parts(&mut post).unwrap_err(), Method);
    let mut old = parts(&[]);
    old.version = http::Version::HTTP_10;
    assert_eq!(Upgrade::from_parts(&mut old).unwrap_err(), HttpVersion);
}

#[test]
fn the_subprotocol_is_chosen_if_offered() {
    let cases: &[(Changes, &[&str], bool)] = &[
        (&[], &[], false),
        (
            &[("sec-websocket-protocol", Some("rookery"))],
            &["rookery"],
            true,
        ),
        (
            &[("sec-websocket-protocol", Some("rookery, a.b-c_d"))],
            &["rookery", "a.b-c_d"],
            true,
        ),
        (
            &[
                ("sec-websocket-protocol", Some("chat")),
                ("+sec-websocket-protocol", Some("rookery")),
            ],
            &["chat", "rookery"],
            true,
        ),
        (
            &[("sec-websocket-protocol", Some("chat"))],
            &["chat"],
            false,
        ),
        (
            &[("sec-websocket-protocol", Some("Rookery"))],
            &["Rookery"],
            false,
        ),
    ];
    for (changes, offered, chosen) in cases {
        let upgrade = Upgrade::from_parts(&mut parts(changes)).unwrap();
        assert_eq!(upgrade.offered(), *offered);
        let (response, _) = upgrade.accept();
        let answer = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
        assert_eq!(answer.is_some_and(|name| name == SUBPROTOCOL), *chosen);
        assert_eq!(answer.is_some(), *chosen);
    }
}
