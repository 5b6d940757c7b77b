//! Really signed tokens of each algorithm, and a table of forgeries.
#![allow(clippy::unwrap_used)]

use super::*;
use jsonwebtoken::jwk::Jwk;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A key pair of an operator, for tests alone.
struct Pair {
    algorithm: Algorithm,
    signing: EncodingKey,
    kid: &'static str,
}

impl Pair {
    fn new(algorithm: Algorithm, kid: &'static str) -> Pair {
        let of = |kind| {
            let pair = rcgen::KeyPair::generate_for(kind).unwrap();
            pair.serialize_der()
        };
        let signing = match algorithm {
            // Made by `openssl genrsa -traditional`: nothing that is at hand makes RSA keys.
            Algorithm::RS256 => EncodingKey::from_rsa_der(include_bytes!("tests/rsa.der")),
            Algorithm::ES256 => EncodingKey::from_ec_der(&of(&rcgen::PKCS_ECDSA_P256_SHA256)),
            Algorithm::EdDSA => {
                // The newer form of PKCS 8 that is made here is not read there: the seed in the older form.
                let made = of(&rcgen::PKCS_ED25519);
                let head = [
                    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
                ];
                EncodingKey::from_ed_der(&[&head[..], &made[16..48]].concat())
            }
            other => panic!("no key for {other:?}"),
        };
        Pair {
            algorithm,
            signing,
            kid,
        }
    }

    fn jwk(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.signing, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.to_owned());
        jwk
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.to_owned());
        encode(&header, claims, &self.signing).unwrap()
    }
}

fn all() -> [Pair; 3] {
    [
        Pair::new(Algorithm::RS256, "r"),
        Pair::new(Algorithm::ES256, "e"),
        Pair::new(Algorithm::EdDSA, "d"),
    ]
}

fn set(keys: &[Jwk]) -> Vec<u8> {
    serde_json::to_vec(&json!({ "keys": keys })).unwrap()
}

fn good() -> Value {
    json!({"sub": "auth0|7", "name": "Magda", "exp": now_seconds() + 600, "aud": "rookery",
        "iss": "https://id.example/"})
}

/// A text in base64url without padding, as the parts of a token are.
fn part(text: impl AsRef<[u8]>) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(text)
}

fn plain() -> Tokens {
    Tokens::new(&[SECRET.to_vec()], &[], &[])
}

async fn from_file(keys: &[u8]) -> (tempfile::NamedTempFile, Arc<Keyring>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), keys).unwrap();
    let source = Source::new(&file.path().to_string_lossy(), None).unwrap();
    (file, Keyring::open(source).await.unwrap())
}

fn strict(keyring: Arc<Keyring>) -> Tokens {
    let (audience, issuer) = (["rookery".to_owned()], ["https://id.example/".to_owned()]);
    Tokens::new(&[SECRET.to_vec()], &audience, &issuer).with_operators(keyring)
}

#[tokio::test]
async fn a_token_is_its_user_and_nobody_elses() {
    let tokens = plain();
    let guest = Tokens::guest();
    let token = tokens.issue(&guest);
    let known = tokens.verify(&token).await.unwrap();
    assert_eq!(
        known,
        Known {
            user: guest,
            until: None
        }
    );
    let other = Tokens::new(&[b"another secret of at least 32 bytes".to_vec()], &[], &[]);
    assert!(other.verify(&token).await.is_err());
    let mut forged: Vec<&str> = token.split('.').collect();
    forged[2] = "AAAA";
    for bad in ["", "a.b.c", &forged.join("."), &"x".repeat(5000)] {
        assert!(tokens.verify(bad).await.is_err(), "{bad:.20}");
    }
}

#[tokio::test]
async fn secrets_are_changed_without_anybody_being_sent_away() {
    let (old, new) = (
        SECRET.to_vec(),
        b"fedcba9876543210fedcba9876543210".to_vec(),
    );
    let tokens = |secrets: &[&Vec<u8>]| {
        Tokens::new(
            &secrets.iter().map(|s| (*s).clone()).collect::<Vec<_>>(),
            &[],
            &[],
        )
    };
    let guest = Tokens::guest();
    // First every node learns the new secret, then every node signs with it, then the old one goes.
    let [before, first, second, after] = [
        tokens(&[&old]),
        tokens(&[&old, &new]),
        tokens(&[&new, &old]),
        tokens(&[&new]),
    ];
    for (signer, checkers) in [
        (&before, vec![&before, &first, &second]),
        (&first, vec![&before, &first, &second]),
        (&second, vec![&first, &second, &after]),
        (&after, vec![&first, &second, &after]),
    ] {
        let token = signer.issue(&guest);
        for checker in checkers {
            assert_eq!(checker.verify(&token).await.unwrap().user, guest);
        }
    }
    assert!(after.verify(&before.issue(&guest)).await.is_err());
}

#[tokio::test]
async fn operators_tokens_of_each_algorithm_are_taken() {
    let pairs = all();
    let (_file, keyring) = from_file(&set(&pairs.each_ref().map(Pair::jwk))).await;
    let tokens = strict(keyring);
    for pair in &pairs {
        let known = tokens.verify(&pair.sign(&good())).await;
        let known = known.unwrap_or_else(|why| panic!("{:?}: {why}", pair.algorithm));
        assert_eq!(known.user.id.as_str(), "auth0|7");
        assert_eq!(
            (known.user.name.as_str(), known.user.is_guest),
            ("Magda", false)
        );
        // Without a `kid` all keys of the algorithm are tried.
        let bare = encode(&Header::new(pair.algorithm), &good(), &pair.signing).unwrap();
        tokens.verify(&bare).await.unwrap();
    }
}

/// Each of these is refused by a node with three public keys, an audience and an issuer.
#[tokio::test]
async fn forgeries() {
    let pairs = all();
    let jwks = pairs.each_ref().map(Pair::jwk);
    let (_file, keyring) = from_file(&set(&jwks)).await;
    let tokens = strict(keyring);
    let [rsa, ec, ed] = &pairs;
    let with = |key: &str, value: Value| {
        let mut claims = good();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(key)),
            value => claims[key] = value,
        }
        claims
    };
    let now = now_seconds();
    let by_secret = |secret: &[u8], claims: &Value| {
        encode(
            &Header::new(Algorithm::HS256),
            claims,
            &EncodingKey::from_secret(secret),
        )
        .unwrap()
    };
    let swapped = |token: &str, header: Value| {
        let rest = token.split_once('.').unwrap().1;
        format!("{}.{rest}", part(header.to_string()))
    };
    let mut table: Vec<(String, String)> = Vec::new();
    let mut add = |what: &str, token: String| table.push((what.to_owned(), token));
    // The classic confusion: the public key, which anybody may have, as the secret of an HMAC, in all its spellings.
    for jwk in &jwks {
        let value = serde_json::to_value(jwk).unwrap();
        let as_json = value.to_string();
        let der = ["n", "x"]
            .iter()
            .find_map(|key| value[key].as_str())
            .unwrap();
        let raw =
            base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, der).unwrap();
        for secret in [as_json.as_bytes(), der.as_bytes(), &raw] {
            let mut header = Header::new(Algorithm::HS256);
            header.kid = jwk.common.key_id.clone();
            let key = EncodingKey::from_secret(secret);
            add(
                "HS256 with a public key",
                encode(&header, &good(), &key).unwrap(),
            );
        }
    }
    add("an empty secret", by_secret(b"", &good()));
    for pair in &pairs {
        let token = pair.sign(&good());
        let kid = pair.kid;
        let (message, signature) = token.rsplit_once('.').unwrap();
        for alg in [
            "none", "None", "HS256", "HS384", "HS512", "RS384", "RS512", "PS256", "ES384", "ES512",
            "",
        ] {
            add(
                &format!("{kid} called {alg}"),
                swapped(&token, json!({"alg": alg, "kid": kid})),
            );
        }
        for other in &pairs {
            if other.kid != kid {
                add(
                    "another's kid",
                    swapped(&token, json!({"alg": pair.algorithm, "kid": other.kid})),
                );
                add(
                    "another's algorithm",
                    swapped(&token, json!({"alg": other.algorithm, "kid": kid})),
                );
            }
        }
        add("no signature", format!("{message}."));
        add(
            "half a signature",
            format!("{message}.{}", &signature[..signature.len() / 2]),
        );
        add("zeros", format!("{message}.{}", part([0; 64])));
        add("a longer signature", format!("{message}.{signature}AAAA"));
        let root = part(with("sub", json!("root")).to_string());
        let head = message.split_once('.').unwrap().0;
        add("other claims", format!("{head}.{root}.{signature}"));
        add(
            "unknown kid",
            swapped(&token, json!({"alg": pair.algorithm, "kid": "unknown"})),
        );
        // A stranger's key, brought along in the head.
        let stranger = Pair::new(
            if kid == "r" {
                Algorithm::ES256
            } else {
                pair.algorithm
            },
            pair.kid,
        );
        add("a stranger's key", stranger.sign(&good()));
        let mut header = Header::new(stranger.algorithm);
        header.jwk = Some(stranger.jwk());
        header.jku = Some("http://evil.example/jwks".into());
        add(
            "a key in the head",
            encode(&header, &good(), &stranger.signing).unwrap(),
        );
        let mut header = Header::new(pair.algorithm);
        header.kid = Some(kid.into());
        header.crit = Some(vec!["exp".into()]);
        add(
            "critical extensions",
            encode(&header, &good(), &pair.signing).unwrap(),
        );
        for (what, claims) in [
            ("expired", with("exp", json!(now - 3600))),
            ("never expires", with("exp", Value::Null)),
            ("expires in words", with("exp", json!("tomorrow"))),
            ("not yet good", with("nbf", json!(now + 3600))),
            ("for somebody else", with("aud", json!("other"))),
            (
                "for several others",
                with("aud", json!(["other", "another"])),
            ),
            ("for nobody", with("aud", Value::Null)),
            (
                "from somebody else",
                with("iss", json!("https://evil.example/")),
            ),
            ("from nobody", with("iss", Value::Null)),
            ("no user", with("sub", Value::Null)),
            ("an empty user", with("sub", json!(""))),
            ("a user with a line break", with("sub", json!("a\r\nb"))),
            ("a very long user", with("sub", json!("x".repeat(129)))),
            ("very long", with("more", json!("x".repeat(4000)))),
        ] {
            add(what, pair.sign(&claims));
        }
    }
    add(
        "by our secret for somebody else",
        by_secret(SECRET, &with("aud", json!("other"))),
    );
    add(
        "by our secret from somebody else",
        by_secret(SECRET, &with("iss", json!("x"))),
    );
    add(
        "by our secret, expired",
        by_secret(SECRET, &with("exp", json!(now - 3600))),
    );
    let count = table.len();
    for (what, token) in table {
        let refused = tokens.verify(&token).await;
        assert!(refused.is_err(), "{what} was taken: {refused:?}");
        let why = refused.unwrap_err().to_string();
        assert!(why.len() < 300, "{why}");
    }
    assert!(count > 100, "{count}");
    // The ones they were made from are good.
    for pair in [rsa, ec, ed] {
        tokens.verify(&pair.sign(&good())).await.unwrap();
    }
    tokens.verify(&by_secret(SECRET, &good())).await.unwrap();
}

#[tokio::test]
async fn without_a_key_set_only_our_secret_counts() {
    let tokens = plain();
    for pair in all() {
        let claims = json!({"sub": "u", "exp": now_seconds() + 600});
        assert!(tokens.verify(&pair.sign(&claims)).await.is_err());
    }
    // A token that says whom it is for is not for a node that does not know who it is.
    let key = EncodingKey::from_secret(SECRET);
    let token = encode(&Header::new(Algorithm::HS256), &good(), &key).unwrap();
    assert!(tokens.verify(&token).await.is_err());
}

#[test]
fn keys_that_are_none_are_left_out() {
    let jwk = |pair: &Pair| serde_json::to_value(pair.jwk()).unwrap();
    let with = |pair: &Pair, key: &str, value: Value| {
        let mut jwk = jwk(pair);
        jwk[key] = value;
        jwk
    };
    let [rsa, ec, ed] = all();
    let bad = [
        json!({"kty": "oct", "kid": "s", "k": part(SECRET), "alg": "HS256"}),
        json!({"kty": "oct", "kid": "s", "k": part(SECRET)}),
        json!({"kty": "RSA", "kid": "short", "n": part([0xff; 128]), "e": "AQAB"}),
        json!({"kty": "RSA", "kid": "long", "n": part(vec![0xff; 2048]), "e": "AQAB"}),
        json!({"kty": "RSA", "kid": "padded", "n": part([vec![0; 128], vec![0xff; 128]].concat()), "e": "AQAB"}),
        json!({"kty": "EC", "kid": "c"}),
        json!({"kty": "new"}),
        json!({}),
        json!(7),
        with(&rsa, "use", json!("enc")),
        with(&rsa, "alg", json!("RS512")),
        with(&rsa, "alg", json!("PS256")),
        with(&rsa, "alg", json!("HS256")),
        with(&rsa, "key_ops", json!(["sign"])),
        with(&ec, "crv", json!("P-384")),
        with(&ec, "alg", json!("ES384")),
        with(&ed, "alg", json!("ES256")),
    ];
    for key in &bad {
        let alone = serde_json::to_vec(&json!({"keys": [key]})).unwrap();
        assert!(KeySet::parse(&alone).is_err(), "{key}");
    }
    let mut keys = bad.to_vec();
    keys.push(jwk(&rsa));
    let all = KeySet::parse(&serde_json::to_vec(&json!({ "keys": keys })).unwrap()).unwrap();
    assert_eq!((all.len(), all.left_out.len()), (1, bad.len()));
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
    let many = json!({"keys": vec![jwk(&ec); keys::KEYS_MAX + 1]});
    assert!(KeySet::parse(&serde_json::to_vec(&many).unwrap()).is_err());
}

#[tokio::test]
async fn an_accounts_token_is_not_made_longer_and_a_guests_is() {
    let tokens = plain();
    let key = EncodingKey::from_secret(SECRET);
    let soon = now_seconds() + 300;
    for (guest, longest) in [(false, soon), (true, soon + TOKEN_TTL_SECONDS)] {
        let claims = json!({"sub": "u", "exp": soon, "guest": guest});
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        let known = tokens.verify(&token).await.unwrap();
        let renewed: Claims =
            jsonwebtoken::dangerous::insecure_decode_claims(tokens.renew(&known)).unwrap();
        assert!(renewed.exp <= longest);
        assert_eq!(renewed.exp > soon, guest);
    }
}

#[tokio::test]
async fn names_are_made_fit_to_be_shown() {
    let tokens = plain();
    let key = EncodingKey::from_secret(SECRET);
    for (name, shown) in [
        (json!("Magda"), "Magda"),
        (json!("  Magda\u{202e} \n"), "Magda"),
        (json!("é".repeat(40)), &"é".repeat(32)),
        (json!("\u{200b} "), "u"),
        (json!(null), "u"),
    ] {
        let claims = json!({"sub": "u", "exp": now_seconds() + 60, "name": name});
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
        assert_eq!(tokens.verify(&token).await.unwrap().user.name, shown);
    }
}

/// A key server over HTTP whose set can be changed, and that counts how often it is asked.
struct KeyServer {
    url: String,
    body: Arc<std::sync::Mutex<Option<Vec<u8>>>>,
    asked: Arc<std::sync::atomic::AtomicUsize>,
}

impl KeyServer {
    async fn start(body: Vec<u8>) -> KeyServer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let body = Arc::new(std::sync::Mutex::new(Some(body)));
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (said, count) = (body.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let body = said.lock().unwrap().clone();
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let (status, body) = match body {
                        Some(body) => ("200 OK", body),
                        None => ("503 Away", Vec::new()),
                    };
                    let head = format!(
                        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
                });
            }
        });
        KeyServer { url, body, asked }
    }

    fn says(&self, body: Option<Vec<u8>>) {
        *self.body.lock().unwrap() = body;
    }

    fn asked(&self) -> usize {
        self.asked.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_once_and_a_server_that_is_away_keeps_the_last_keys() {
    let (old, new) = (
        Pair::new(Algorithm::ES256, "old"),
        Pair::new(Algorithm::ES256, "new"),
    );
    let server = KeyServer::start(set(&[old.jwk()])).await;
    let keyring = Keyring::open(Source::new(&server.url, None).unwrap())
        .await
        .unwrap();
    let tokens = Arc::new(strict(keyring.clone()));
    let sign = |pair: &Pair| pair.sign(&good());
    tokens.verify(&sign(&old)).await.unwrap();
    assert_eq!(server.asked(), 1);

    // A crowd with a new key brings about one reading.
    server.says(Some(set(&[old.jwk(), new.jwk()])));
    let crowd = (0..20).map(|_| {
        let (tokens, token) = (tokens.clone(), sign(&new));
        tokio::spawn(async move { tokens.verify(&token).await.map(drop) })
    });
    for one in crowd.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
    assert_eq!(server.asked(), 2);

    // A flood with made-up keys brings about none for a while.
    for number in 0..50 {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(format!("made up {number}"));
        let token = encode(&header, &good(), &old.signing).unwrap();
        assert!(tokens.verify(&token).await.is_err());
    }
    assert_eq!(server.asked(), 2);

    // Away, or broken: the last keys stay.
    for body in [None, Some(b"<html>".to_vec()), Some(set(&[]))] {
        server.says(body);
        assert!(!keyring.refresh().await);
        tokens.verify(&sign(&old)).await.unwrap();
        tokens.verify(&sign(&new)).await.unwrap();
    }
    // A body without end is not read to it.
    server.says(Some(vec![b' '; 1 << 20]));
    assert!(!keyring.refresh().await);

    // A key that was taken out is taken no more.
    server.says(Some(set(&[new.jwk()])));
    assert!(keyring.refresh().await);
    assert!(tokens.verify(&sign(&old)).await.is_err());
    tokens.verify(&sign(&new)).await.unwrap();
}

#[tokio::test]
async fn a_node_starts_while_the_key_server_is_away_and_takes_its_tokens_when_it_is_back() {
    let pair = Pair::new(Algorithm::EdDSA, "k");
    let server = KeyServer::start(Vec::new()).await;
    server.says(None);
    let keyring = Keyring::open(Source::new(&server.url, None).unwrap())
        .await
        .unwrap();
    let tokens = strict(keyring);
    server.says(Some(set(&[pair.jwk()])));
    tokens.verify(&pair.sign(&good())).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_not_there_is_an_error_at_start() {
    assert!(
        Keyring::open(Source::new("/nowhere/jwks.json", None).unwrap())
            .await
            .is_err()
    );
    for bad in ["ftp://a/b", "https://", "https://user:pw@a/b"] {
        assert!(Source::new(bad, None).is_err(), "{bad}");
    }
}

/// A key server behind TLS whose certificate a CA of the operator's own has signed.
#[tokio::test]
async fn a_key_server_with_its_own_ca() {
    use tokio_rustls::{TlsAcceptor, rustls};
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let server = server.signed_by(&key, &issuer).unwrap();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![server.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pair = Pair::new(Algorithm::ES256, "k");
    let body = set(&[pair.jwk()]);
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
            let _ = stream.shutdown().await;
        }
    });
    let url = format!("https://localhost:{port}/jwks");
    let trusted = Source::new(&url, Some(ca_certificate.pem().as_bytes())).unwrap();
    assert_eq!(trusted.read().await.unwrap().len(), 1);
    // Signed by nobody the system trusts, and by another CA.
    let other = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let other = other
        .self_signed(&rcgen::KeyPair::generate().unwrap())
        .unwrap();
    let untrusted = Source::new(&url, Some(other.pem().as_bytes())).unwrap();
    assert!(untrusted.read().await.is_err());
    // Named by an address that is not in the certificate.
    let url = format!("https://127.0.0.1:{port}/jwks");
    let misnamed = Source::new(&url, Some(ca_certificate.pem().as_bytes())).unwrap();
    assert!(misnamed.read().await.is_err());
}
