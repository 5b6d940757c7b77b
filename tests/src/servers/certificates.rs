//! A certificate authority of a test's own, and a certificate it signed for `localhost`.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::path::PathBuf;
use tempfile::TempDir;

/// Files in PEM, gone when dropped.
#[derive(Debug)]
pub struct Certificates {
    dir: TempDir,
}

impl Default for Certificates {
    fn default() -> Certificates {
        Certificates::new()
    }
}

impl Certificates {
    /// Makes them anew.
    pub fn new() -> Certificates {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ca_key = KeyPair::generate().expect("a key");
        let mut ca = CertificateParams::new(Vec::new()).expect("no names");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = ca.self_signed(&ca_key).expect("a certificate").pem();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let server_pem = server
            .signed_by(&key, &issuer)
            .expect("a certificate")
            .pem();
        for (name, text) in [
            ("ca.pem", ca_pem),
            ("server.pem", server_pem),
            ("server.key", key.serialize_pem()),
        ] {
            std::fs::write(dir.path().join(name), text).expect("our own directory");
        }
        Certificates { dir }
    }

    /// What vouches for the server.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The server's certificate, for `localhost` alone.
    pub fn server(&self) -> PathBuf {
        self.dir.path().join("server.pem")
    }

    /// Its key.
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("server.key")
    }
}
