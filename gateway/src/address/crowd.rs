//! How many connections each address has now.

use dashmap::{DashMap, mapref::entry::Entry};
use std::{net::IpAddr, num::NonZeroU32, sync::Arc};

/// Connections by address; as many entries as there are connections at most.
#[derive(Debug, Clone)]
pub struct Crowd {
    max: u32,
    counts: Arc<DashMap<IpAddr, u32>>,
}

impl Crowd {
    /// Each may have so many.
    pub fn new(max: NonZeroU32) -> Crowd {
        Crowd {
            max: max.get(),
            counts: Arc::default(),
        }
    }

    /// One more; `None` if that would be too many.
    pub fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut count = self.counts.entry(address).or_insert(0);
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(count);
        Some(Place {
            address,
            crowd: self.clone(),
        })
    }

    /// Addresses that have a connection.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// One connection of an address, until it is dropped.
#[derive(Debug)]
pub struct Place {
    address: IpAddr,
    crowd: Crowd,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.crowd.counts.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
