//! What a cluster's gateways stand on.

use pubsub::{
    Backplane,
    embedded::{Embedded, Options},
};
use std::sync::Arc;

/// What a scenario is played over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Gateways in this process, each with its own threads, on one embedded backplane.
    Embedded,
    /// Gateways in the test's own runtime on one embedded backplane, so that the test can let time pass.
    Time,
}

#[derive(Debug)]
pub(super) enum Backing {
    Embedded { backplane: Embedded, here: bool },
}

impl Backing {
    pub async fn start(over: Over) -> Backing {
        match over {
            Over::Embedded | Over::Time => Backing::Embedded {
                backplane: Embedded::new(Options::default()).expect("memory"),
                here: over == Over::Time,
            },
        }
    }

    /// What a gateway is told about it by flags.
    pub fn flags(&self) -> Vec<String> {
        Vec::new()
    }

    /// What a gateway is given besides.
    pub fn given(&self) -> Option<Arc<dyn Backplane>> {
        match self {
            Backing::Embedded { backplane, .. } => Some(Arc::new(backplane.clone())),
        }
    }

    pub async fn backplane(&self) -> Arc<dyn Backplane> {
        match self {
            Backing::Embedded { backplane, .. } => Arc::new(backplane.clone()),
        }
    }
}
