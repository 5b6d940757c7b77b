//! The web client: the files of `gateway/web/dist`, inside a release binary, from the folder in a debug build.
//!
//! Names under `/assets/` carry a hash of their content, so browsers keep those for ever; every other file is asked for
//! again each time and answered with 304 when nothing changed. Compressed copies are made when the client is built
//! (`name.br`, `name.gz` beside `name`), never at run time. Nothing is served to or from another host, and no inline
//! script or style runs.

use std::borrow::Cow;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Dist;

/// What the page may do: its own scripts, styles, pictures and connections, and nothing else. `'self'` includes the
/// WebSocket of the same host.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A year: hashed names never change their content.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Keep, but ask before use: a new release must reach the browser at its next visit.
const REVALIDATE: &str = "no-cache";

/// What `/` says when the client was not built.
const MISSING: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Rookery</title>\
     <h1>Rookery is running, without its web page</h1>\
     <p>This binary was built without the web client. To get it, run <code>make web</code> (it needs Node 20 or newer), \
     then start the server again; <code>make run</code> does both.</p>\
     <p>The WebSocket at <code>/ws</code> and the HTTP interface work as usual.</p>";

/// One file as it is stored.
struct File {
    data: Cow<'static, [u8]>,
    sha256: [u8; 32],
}

fn dist(name: &str) -> Option<File> {
    Dist::get(name).map(|file| File {
        sha256: file.metadata.sha256_hash(),
        data: file.data,
    })
}

/// The routes of the web client; merged into the public router.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let file = |name: &'static str| {
        get(move |headers: HeaderMap| async move { answer(dist, name, &headers) })
    };
    Router::new()
        .route("/", file("index.html"))
        .route("/game/{id}", file("index.html"))
        .route("/theme.js", file("theme.js"))
        .route("/favicon.svg", file("favicon.svg"))
        .route("/third-party.txt", file("third-party.txt"))
        .route(
            "/assets/{*name}",
            get(|Path(name): Path<String>, headers: HeaderMap| async move {
                answer(dist, &format!("assets/{name}"), &headers)
            }),
        )
}

/// Chooses the copy of `name` that the browser can read, or says 304, or 404.
fn answer(find: impl Fn(&str) -> Option<File>, name: &str, headers: &HeaderMap) -> Response {
    let Some(plain) = find(name) else {
        return missing(name);
    };
    let (file, encoding) = ["br", "gzip"]
        .into_iter()
        .filter(|encoding| accepts(headers, encoding))
        .find_map(|encoding| {
            let suffix = if encoding == "gzip" { "gz" } else { encoding };
            Some((find(&format!("{name}.{suffix}"))?, Some(encoding)))
        })
        .unwrap_or((plain, None));
    let tag = etag(&file.sha256);
    let mut response = Response::new(Body::empty());
    let out = response.headers_mut();
    secure(out);
    let cache = if name.starts_with("assets/") {
        IMMUTABLE
    } else {
        REVALIDATE
    };
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    out.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().trim_start_matches("W/") == tag);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(header::ETAG, tag);
    }
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    out.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(content_type(name)),
    );
    if let Some(encoding) = encoding {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    *response.body_mut() = match file.data {
        Cow::Borrowed(bytes) => Body::from(bytes),
        Cow::Owned(bytes) => Body::from(bytes),
    };
    response
}

fn missing(name: &str) -> Response {
    let (status, kind, text) = if name == "index.html" {
        (StatusCode::OK, "text/html; charset=utf-8", MISSING)
    } else {
        (
            StatusCode::NOT_FOUND,
            "text/plain; charset=utf-8",
            "no such file\n",
        )
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let out = response.headers_mut();
    secure(out);
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // A page of the next release may ask an old node for its files, or the other way round; neither may be remembered.
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn secure(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Whether `Accept-Encoding` names the encoding without refusing it by `q=0`.
fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| {
            let mut parts = item.split(';').map(str::trim);
            parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case(encoding))
                && !parts.any(|part| {
                    part.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0)
                })
        })
}

/// Half of the hash: 128 bits are beyond any accident.
fn etag(sha256: &[u8; 32]) -> String {
    let hex: String = sha256[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{hex}\"")
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn stored(name: &str) -> Option<File> {
        let data: &'static [u8] = match name {
            "index.html" => b"<html>",
            "assets/main-abc.js" => b"plain",
            "assets/main-abc.js.br" => b"brotli",
            "assets/main-abc.js.gz" => b"gzip",
            _ => return None,
        };
        let mut sha256 = [0; 32];
        sha256[..data.len()].copy_from_slice(data);
        Some(File {
            data: Cow::Borrowed(data),
            sha256,
        })
    }

    fn ask(name: &str, headers: &[(header::HeaderName, &str)]) -> Response {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect();
        answer(stored, name, &headers)
    }

    fn get(response: &Response, name: header::HeaderName) -> Option<&str> {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    }

    #[test]
    fn the_smallest_copy_the_browser_reads_is_sent() {
        for (accept, wanted) in [
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip, br;q=0", Some("gzip")),
            ("GZIP", Some("gzip")),
            ("deflate", None),
            ("", None),
        ] {
            let response = ask("assets/main-abc.js", &[(header::ACCEPT_ENCODING, accept)]);
            assert_eq!(get(&response, header::CONTENT_ENCODING), wanted, "{accept}");
            assert_eq!(get(&response, header::VARY), Some("accept-encoding"));
            assert_eq!(
                get(&response, header::CONTENT_TYPE),
                Some("text/javascript; charset=utf-8")
            );
        }
    }

    #[test]
    fn hashed_names_are_kept_for_ever_and_the_page_is_asked_for() {
        let asset = ask("assets/main-abc.js", &[]);
        assert_eq!(get(&asset, header::CACHE_CONTROL), Some(IMMUTABLE));
        let page = ask("index.html", &[]);
        assert_eq!(get(&page, header::CACHE_CONTROL), Some("no-cache"));
        let tag = get(&page, header::ETAG).unwrap().to_owned();
        for sent in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
            let again = ask("index.html", &[(header::IF_NONE_MATCH, &sent)]);
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{sent}");
        }
        let changed = ask("index.html", &[(header::IF_NONE_MATCH, "\"other\"")]);
        assert_eq!(changed.status(), StatusCode::OK);
    }

    #[test]
    fn every_answer_is_strict_about_content() {
        for name in ["index.html", "assets/main-abc.js", "assets/missing.js"] {
            let response = ask(name, &[]);
            let policy = get(&response, header::CONTENT_SECURITY_POLICY).unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
            assert_eq!(
                get(&response, header::X_CONTENT_TYPE_OPTIONS),
                Some("nosniff")
            );
            assert_eq!(get(&response, header::REFERRER_POLICY), Some("same-origin"));
        }
    }

    #[test]
    fn without_the_client_the_page_says_how_to_get_it() {
        let page = answer(|_| None, "index.html", &HeaderMap::new());
        assert_eq!(page.status(), StatusCode::OK);
        assert!(MISSING.contains("make web"));
        let asset = ask("assets/gone.js", &[]);
        assert_eq!(asset.status(), StatusCode::NOT_FOUND);
        assert_eq!(get(&asset, header::CACHE_CONTROL), Some("no-store"));
    }
}
