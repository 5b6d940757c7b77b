//! A JWKS (RFC 7517): the public keys of those who sign tokens for us. Each key is taken for the one algorithm of its type,
//! or not at all; where the set comes from is for others.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// Keys of one set that are looked at. Real sets have two to ten; each that fits a token without a `kid` is tried.
pub const KEYS_MAX: usize = 64;

/// Keys that one token is tried with. A forged one costs as many checks, of which RSA's take the longest.
const TRIED_MAX: usize = 4;

/// Lengths of an RSA modulus, in bits: what is shorter can be broken, what is longer costs too much to check.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a text is no key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no JSON Web Key Set: {0}")]
pub struct BadKeySet(String);

/// Keys that check signatures.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Keys that were left out, each with the reason.
    pub left_out: Vec<String>,
}

#[derive(Debug, Clone)]
struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a set. Keys it does not understand are left out, as RFC 7517 section 5 asks; a set without one that is of use is
    /// refused, so that a broken one never replaces a good one.
    pub fn parse(text: &[u8]) -> Result<KeySet, BadKeySet> {
        #[derive(Deserialize)]
        struct Raw {
            keys: Vec<Value>,
        }
        let raw: Raw =
            serde_json::from_slice(text).map_err(|error| BadKeySet(error.to_string()))?;
        let mut set = KeySet::default();
        if raw.keys.len() > KEYS_MAX {
            let len = raw.keys.len();
            return Err(BadKeySet(format!(
                "it has {len} keys, more than {KEYS_MAX}"
            )));
        }
        for raw in raw.keys {
            let kid = raw["kid"].as_str().unwrap_or("without kid").to_owned();
            match Key::read(raw) {
                Ok(key) => set.keys.push(key),
                Err(why) => set.left_out.push(format!("{kid:.64}: {why}")),
            }
        }
        if set.keys.is_empty() {
            let why = set.left_out.join("; ");
            return Err(BadKeySet(format!("none of its keys is of use: {why}")));
        }
        Ok(set)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys that may have signed a token with this head: of its `kid`, or any if it names none, and of its algorithm.
    pub fn candidates(&self, header: &Header) -> Vec<&DecodingKey> {
        let fits = |key: &&Key| {
            key.algorithm == header.alg && (header.kid.is_none() || key.kid == header.kid)
        };
        self.keys
            .iter()
            .filter(fits)
            .take(TRIED_MAX)
            .map(|key| &key.key)
            .collect()
    }
}

impl Key {
    fn read(raw: Value) -> Result<Key, String> {
        let jwk: Jwk = serde_json::from_value(raw).map_err(|error| error.to_string())?;
        if matches!(&jwk.common.public_key_use, Some(use_) if *use_ != PublicKeyUse::Signature) {
            return Err("it is not for signatures".to_owned());
        }
        if matches!(&jwk.common.key_operations, Some(operations) if !operations.contains(&KeyOperations::Verify))
        {
            return Err("it is not for checking".to_owned());
        }
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                let modulus = URL_SAFE_NO_PAD.decode(&rsa.n).map_err(|e| e.to_string())?;
                let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
                let bits = (modulus.len() - zeros) * 8;
                if !RSA_BITS.contains(&bits) {
                    return Err(format!("an RSA key of {bits} bits"));
                }
                Algorithm::RS256
            }
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            AlgorithmParameters::OctetKey(_) => {
                return Err("a secret, which is never taken from a key set".to_owned());
            }
            _ => return Err("only RSA, P-256 and Ed25519 are known".to_owned()),
        };
        if let Some(said) = jwk.common.key_algorithm
            && said.to_string().parse::<Algorithm>().ok() != Some(algorithm)
        {
            return Err(format!(
                "it is for {said}, only {algorithm:?} is known of its type"
            ));
        }
        Ok(Key {
            key: DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?,
            kid: jwk.common.key_id,
            algorithm,
        })
    }
}
