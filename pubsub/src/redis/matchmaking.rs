//! Seeks in, offers and pairings out. What must be atomic is within the pool's partition; the mailboxes are in others, and are
//! told afterwards, by messages that may be lost: an offer or a pairing that was not heard of lapses or is asked for.

use super::{
    Shared,
    log::{byte_strings, odd, random_name, text},
    rooms::millis,
    script,
};
use crate::{Answer, OFFER_TTL, Offer, PAIRING_TTL, Room, SEEK_TTL, Seeker, Sought, topic};
use bytes::Bytes;
use redis::Value;
use std::sync::Arc;

/// Length of an offer's name: more than 90 random bits.
const OFFER_LEN: usize = 16;

fn list(what: &str, value: Value) -> Answer<std::vec::IntoIter<Value>> {
    match value {
        Value::Array(items) => Ok(items.into_iter()),
        other => Err(odd(what, &other)),
    }
}

impl Shared {
    pub async fn seek(self: &Arc<Shared>, pool: &str, seeker: &Seeker) -> Answer<Sought> {
        let name = random_name(OFFER_LEN);
        let [seeks, until, seekers] = self.keys.pool(pool);
        let made = self.keys.offers_made(pool);
        let got = self.keys.offers_got(pool);
        let offers = self.keys.offers(pool);
        let keys = [
            seeks,
            until,
            seekers,
            format!("{made}{}", seeker.id),
            format!("{got}{}", seeker.id),
            format!("{offers}{name}"),
        ];
        let mut command = script::SEEK.on(keys.iter().map(String::as_str));
        command
            .arg(&seeker.id)
            .arg(format!("{}\n{}", seeker.mailbox, seeker.user))
            .arg(&name)
            .arg(millis(SEEK_TTL))
            .arg(millis(OFFER_TTL))
            .arg(made)
            .arg(got)
            .arg(offers);
        let partition = self.keys.of_key(pool);
        let answered = self.run(partition, &script::SEEK, &command).await?;
        let mut items = list("seek", answered.value)?;
        let refused = text(items.next())?;
        let refused_mailbox = text(items.next())?;
        if let Ok(mailbox) = Room::parse(&refused_mailbox) {
            self.tell(mailbox, topic::REFUSED, Bytes::from(refused));
        }
        match text(items.next())?.as_str() {
            "waiting" => Ok(Sought::Waiting),
            "offered" => {
                let id = text(items.next())?;
                let waiting = text(items.next())?;
                // Nobody to tell if the offer is an older one.
                if let Ok(mailbox) = Room::parse(&text(items.next())?) {
                    let offer = Offer {
                        id: id.clone(),
                        pool: pool.to_owned(),
                        waiting,
                        user: seeker.user.clone(),
                        data: seeker.data.clone(),
                    };
                    self.tell(mailbox, topic::OFFER, offer.encode());
                }
                Ok(Sought::Offered { offer: id })
            }
            other => Err(odd("seek", &other)),
        }
    }

    pub async fn renew_seeks(
        self: &Arc<Shared>,
        pool: &str,
        ids: &[String],
    ) -> Answer<Vec<String>> {
        let keys = self.keys.pool(pool);
        let mut command = script::RENEW_SEEKS.on(keys.iter().map(String::as_str));
        command.arg(millis(SEEK_TTL)).arg(ids);
        let partition = self.keys.of_key(pool);
        let answered = self.run(partition, &script::RENEW_SEEKS, &command).await?;
        let gone = list("renew_seeks", answered.value)?;
        gone.map(|id| text(Some(id))).collect()
    }

    pub async fn cancel_seek(self: &Arc<Shared>, pool: &str, id: &str) -> Answer<bool> {
        let keys = self.keys.pool(pool);
        let mut command = script::CANCEL_SEEK.on(keys.iter().map(String::as_str));
        command.arg(id);
        let partition = self.keys.of_key(pool);
        let answered = self.run(partition, &script::CANCEL_SEEK, &command).await?;
        // After an attempt whose answer was lost, that attempt may have been the one that took it out; the seeker is not in
        // the pool either way, and whoever had been offered him would have heard.
        Ok(answered.value == Value::Int(1))
    }

    pub async fn accept_offer(
        self: &Arc<Shared>,
        pool: &str,
        offer: &str,
        pairing: Bytes,
    ) -> Answer<Option<Bytes>> {
        let key = format!("{}{offer}", self.keys.offers(pool));
        let mut command = script::ACCEPT_OFFER.on([key.as_str()].into_iter());
        command
            .arg(pairing.as_ref())
            .arg(millis(PAIRING_TTL))
            .arg(random_name(OFFER_LEN))
            .arg(self.keys.offers_made(pool));
        let partition = self.keys.of_key(pool);
        let answered = self.run(partition, &script::ACCEPT_OFFER, &command).await?;
        if answered.value == Value::Nil {
            return Ok(None);
        }
        let mut items = byte_strings(Some(answered.value))?.into_iter();
        let holds = items.next().unwrap_or_default();
        let mailbox = items.next().unwrap_or_default();
        if let Some(mailbox) = parse_mailbox(&mailbox) {
            let body = [offer.as_bytes(), b"\n", &holds].concat();
            self.tell(mailbox, topic::PAIRED, Bytes::from(body));
        }
        Ok(Some(holds))
    }

    pub async fn refuse_offer(self: &Arc<Shared>, pool: &str, offer: &str) -> Answer<()> {
        if let Settled::TakenBack(Some(mailbox)) = self.settle(pool, offer).await? {
            let body = Bytes::copy_from_slice(offer.as_bytes());
            self.tell(mailbox, topic::REFUSED, body);
        }
        Ok(())
    }

    pub async fn settle_offer(
        self: &Arc<Shared>,
        pool: &str,
        offer: &str,
    ) -> Answer<Option<Bytes>> {
        match self.settle(pool, offer).await? {
            Settled::Paired(pairing) => Ok(Some(pairing)),
            Settled::TakenBack(_) => Ok(None),
        }
    }

    async fn settle(self: &Arc<Shared>, pool: &str, offer: &str) -> Answer<Settled> {
        let key = format!("{}{offer}", self.keys.offers(pool));
        let mut command = script::SETTLE_OFFER.on([key.as_str()].into_iter());
        command
            .arg(self.keys.offers_made(pool))
            .arg(self.keys.offers_got(pool));
        let partition = self.keys.of_key(pool);
        let answered = self.run(partition, &script::SETTLE_OFFER, &command).await?;
        if answered.value == Value::Nil {
            return Ok(Settled::TakenBack(None));
        }
        let mut items = byte_strings(Some(answered.value))?.into_iter();
        let kind = items.next().unwrap_or_default();
        let what = items.next().unwrap_or_default();
        Ok(match kind.as_ref() {
            b"paired" => Settled::Paired(what),
            _ => Settled::TakenBack(parse_mailbox(&what)),
        })
    }
}

enum Settled {
    Paired(Bytes),
    /// Nothing came of it; whom to tell, if that was known.
    TakenBack(Option<Room>),
}

fn parse_mailbox(name: &[u8]) -> Option<Room> {
    Room::parse(std::str::from_utf8(name).ok()?).ok()
}
