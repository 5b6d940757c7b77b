//! Matchmaking in one pool: who waits, and which offers stand.

use crate::{Millis, OFFER_TTL, Offer, PAIRING_TTL, Room, SEEK_TTL, Seeker, Sought};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

/// A pool of seekers. Every call first forgets what has lapsed where it looks.
#[derive(Debug, Default)]
pub struct Pool {
    // By order of coming.
    waiting: BTreeMap<u64, Waiting>,
    places: HashMap<String, u64>,
    next_place: u64,
    offers: HashMap<String, Standing>,
    // Ids of seekers to the offer they made, or got.
    made: HashMap<String, String>,
    got: HashMap<String, String>,
    purge_at: usize,
}

#[derive(Debug)]
struct Waiting {
    seeker: Seeker,
    until: Millis,
}

#[derive(Debug)]
struct Standing {
    waiting: String,
    other: String,
    mailbox: Room,
    pairing: Option<Bytes>,
    until: Millis,
}

/// What a seek brought, and who is to be told.
#[derive(Debug)]
pub struct Seeking {
    pub sought: Sought,
    /// An offer this seeker had got and now refuses: its maker's mailbox, its name.
    pub refused: Option<(Room, String)>,
    /// The offer made now, and the mailbox of him who waited.
    pub offered: Option<(Room, Offer)>,
}

/// Number of offers and seekers below which nobody purges.
const PURGE_MIN: usize = 1_024;

impl Pool {
    /// Offers to pair `seeker` with the longest-waiting of another user, else lets him wait. `name` names the offer.
    pub fn seek(&mut self, now: Millis, pool: &str, seeker: &Seeker, name: String) -> Seeking {
        self.purge_sometimes(now);
        let mut seeking = Seeking {
            sought: Sought::Waiting,
            refused: None,
            offered: None,
        };
        if let Some(offer) = self
            .made
            .get(&seeker.id)
            .filter(|offer| self.stands(now, offer))
        {
            let offer = offer.clone();
            seeking.sought = Sought::Offered { offer };
            return seeking;
        }
        if let Some(offer) = self.got.get(&seeker.id).cloned() {
            seeking.refused = self.refuse(now, &offer).map(|mailbox| (mailbox, offer));
        }
        if self.renew(now, &seeker.id) {
            return seeking;
        }
        let Some(found) = self.longest_waiting(now, &seeker.user) else {
            self.places.insert(seeker.id.clone(), self.next_place);
            let until = now + millis(SEEK_TTL);
            let seeker = seeker.clone();
            self.waiting
                .insert(self.next_place, Waiting { seeker, until });
            self.next_place += 1;
            return seeking;
        };
        self.keep(
            name.clone(),
            Standing {
                waiting: found.id.clone(),
                other: seeker.id.clone(),
                mailbox: seeker.mailbox.clone(),
                pairing: None,
                until: now + millis(OFFER_TTL),
            },
        );
        let offer = Offer {
            id: name.clone(),
            pool: pool.into(),
            waiting: found.id,
            user: seeker.user.clone(),
            data: seeker.data.clone(),
        };
        seeking.offered = Some((found.mailbox, offer));
        seeking.sought = Sought::Offered { offer: name };
        seeking
    }

    /// Keeps a waiting seek alive. False if it does not wait.
    pub fn renew(&mut self, now: Millis, id: &str) -> bool {
        let waiting = self
            .places
            .get(id)
            .and_then(|place| self.waiting.get_mut(place));
        match waiting {
            Some(waiting) if waiting.until > now => {
                waiting.until = now + millis(SEEK_TTL);
                true
            }
            _ => {
                self.take(id);
                false
            }
        }
    }

    /// Takes a waiting seek out. False if it does not wait.
    pub fn cancel(&mut self, now: Millis, id: &str) -> bool {
        self.take(id).is_some_and(|waiting| waiting.until > now)
    }

    /// The pairing that holds, if the offer was accepted.
    pub fn pairing(&self, now: Millis, offer: &str) -> Option<Bytes> {
        self.standing(now, offer)?.pairing.clone()
    }

    /// Whether the offer stands and nobody has answered it.
    pub fn is_open(&self, now: Millis, offer: &str) -> bool {
        self.standing(now, offer)
            .is_some_and(|standing| standing.pairing.is_none())
    }

    /// When a pairing made now lapses.
    pub fn pairing_until(now: Millis) -> Millis {
        now + millis(PAIRING_TTL)
    }

    /// Turns an open offer into a pairing; answers the maker's mailbox.
    pub fn accept(&mut self, offer: &str, pairing: Bytes, until: Millis) -> Option<Room> {
        let standing = self.offers.get_mut(offer)?;
        standing.pairing = Some(pairing);
        standing.until = until;
        Some(standing.mailbox.clone())
    }

    /// Takes an open offer back; answers the maker's mailbox.
    pub fn refuse(&mut self, now: Millis, offer: &str) -> Option<Room> {
        if !self.is_open(now, offer) {
            return None;
        }
        self.forget(offer).map(|standing| standing.mailbox)
    }

    /// Puts a pairing back that was made before a restart.
    pub fn restore(&mut self, offer: String, pairing: Pairing) {
        let Pairing {
            waiting,
            other,
            mailbox,
            value,
            until,
        } = pairing;
        let pairing = Some(value);
        self.keep(
            offer,
            Standing {
                waiting,
                other,
                mailbox,
                pairing,
                until,
            },
        );
    }

    /// All that [`Pool::restore`] needs for this offer, with the pairing it is about to get.
    pub fn to_pairing(&self, offer: &str, value: Bytes, until: Millis) -> Option<Pairing> {
        let standing = self.offers.get(offer)?;
        Some(Pairing {
            waiting: standing.waiting.clone(),
            other: standing.other.clone(),
            mailbox: standing.mailbox.clone(),
            value,
            until,
        })
    }

    /// Whether nothing is left in it.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.offers.is_empty()
    }

    /// Forgets all that lapsed.
    pub fn purge(&mut self, now: Millis) {
        let lapsed = |until: Millis| until <= now;
        self.waiting.retain(|_, waiting| !lapsed(waiting.until));
        self.places
            .retain(|_, place| self.waiting.contains_key(place));
        self.offers.retain(|_, standing| !lapsed(standing.until));
        self.made.retain(|_, offer| self.offers.contains_key(offer));
        self.got.retain(|_, offer| self.offers.contains_key(offer));
    }

    fn purge_sometimes(&mut self, now: Millis) {
        if self.waiting.len() + self.offers.len() >= self.purge_at.max(PURGE_MIN) {
            self.purge(now);
            self.purge_at = 2 * (self.waiting.len() + self.offers.len());
        }
    }

    fn longest_waiting(&mut self, now: Millis, not: &str) -> Option<Seeker> {
        let lapsed: Vec<String> = self
            .waiting
            .values()
            .take_while(|waiting| waiting.until <= now)
            .map(|waiting| waiting.seeker.id.clone())
            .collect();
        for id in lapsed {
            self.take(&id);
        }
        let live = |waiting: &&Waiting| waiting.until > now && waiting.seeker.user != not;
        let id = self.waiting.values().find(live)?.seeker.id.clone();
        self.take(&id).map(|waiting| waiting.seeker)
    }

    fn take(&mut self, id: &str) -> Option<Waiting> {
        let place = self.places.remove(id)?;
        self.waiting.remove(&place)
    }

    fn standing(&self, now: Millis, offer: &str) -> Option<&Standing> {
        self.offers
            .get(offer)
            .filter(|standing| standing.until > now)
    }

    fn stands(&self, now: Millis, offer: &str) -> bool {
        self.standing(now, offer).is_some()
    }

    fn keep(&mut self, name: String, standing: Standing) {
        self.made.insert(standing.other.clone(), name.clone());
        self.got.insert(standing.waiting.clone(), name.clone());
        self.offers.insert(name, standing);
    }

    fn forget(&mut self, offer: &str) -> Option<Standing> {
        let standing = self.offers.remove(offer)?;
        self.made.remove(&standing.other);
        self.got.remove(&standing.waiting);
        Some(standing)
    }
}

/// An accepted offer as it outlives a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct Pairing {
    pub waiting: String,
    pub other: String,
    pub mailbox: Room,
    pub value: Bytes,
    pub until: Millis,
}

fn millis(duration: std::time::Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
