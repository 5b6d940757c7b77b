//! Where a key set comes from: a file, or a server that is asked over HTTP.

use super::KeySet;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// How long a key server may take for its whole answer.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest key set read, in bytes. One of 64 RSA keys of 4096 bits with their certificates fits.
const KEY_SET_LEN_MAX: usize = 512 * 1024;

type Https = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// A file or a URL.
#[derive(Clone)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A server.
    Url(Box<(Uri, Https)>),
}

impl Source {
    /// Takes the setting apart; `ca` are certificates in PEM to trust instead of the system's.
    pub fn new(text: &str, ca: Option<&[u8]>) -> anyhow::Result<Source> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            None => Ok(Source::File(text.into())),
            Some("file") => Ok(Source::File(text["file://".len()..].into())),
            Some("http" | "https") => {
                let uri: Uri = text.parse().context("it is no URL")?;
                ensure!(uri.host().is_some(), "it names no host");
                ensure!(
                    !uri.authority()
                        .is_some_and(|authority| authority.as_str().contains('@')),
                    "user and password in the URL are not supported"
                );
                Ok(Source::Url(Box::new((uri, client(ca)?))))
            }
            Some(other) => bail!("{other:?} is none of http, https, file"),
        }
    }

    /// Reads the set as it is now.
    pub async fn read(&self) -> anyhow::Result<KeySet> {
        let text = match self {
            Source::File(path) => {
                let text = tokio::fs::read(path).await;
                text.with_context(|| format!("{} cannot be read", path.display()))?
            }
            Source::Url(server) => {
                let (uri, client) = &**server;
                let fetching = fetch(client, uri);
                let fetched = tokio::time::timeout(FETCH_TIMEOUT, fetching).await;
                let text = fetched.unwrap_or_else(|_| bail!("no answer in time"));
                text.with_context(|| format!("{uri} cannot be fetched"))?
                    .to_vec()
            }
        };
        ensure!(text.len() <= KEY_SET_LEN_MAX, "{self} is too long");
        KeySet::parse(&text).with_context(|| format!("{self} is not understood"))
    }
}

async fn fetch(client: &Https, uri: &Uri) -> anyhow::Result<Bytes> {
    let answer = client.get(uri.clone()).await?;
    // Redirects are not followed: what is trusted is the server that was named.
    ensure!(
        answer.status().is_success(),
        "the answer is {}",
        answer.status()
    );
    let body = Limited::new(answer.into_body(), KEY_SET_LEN_MAX);
    let body = body.collect().await.map_err(anyhow::Error::from_boxed)?;
    Ok(body.to_bytes())
}

fn client(ca: Option<&[u8]>) -> anyhow::Result<Https> {
    // The provider is named, so that nothing depends on who installed one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = match ca {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(ca) {
                roots.add(certificate.context("--jwks-ca is no PEM")?)?;
            }
            ensure!(!roots.is_empty(), "--jwks-ca holds no certificate");
            config.with_root_certificates(roots)
        }
        None => config
            .with_native_roots()
            .context("the system's certificates cannot be read; name some by --jwks-ca")?,
    };
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config.with_no_client_auth())
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new())
        // Fetched every few minutes: nothing is gained by keeping a connection.
        .pool_max_idle_per_host(0)
        .build(connector))
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::File(path) => path.display().fmt(f),
            Source::Url(server) => server.0.fmt(f),
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
