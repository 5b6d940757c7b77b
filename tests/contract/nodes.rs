//! What a check gets to work with, and its little helpers: names of its own, appends in one line, and ears that wait.

use bytes::Bytes;
use pubsub::*;
use std::{any::Any, fmt::Debug, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// How long a check waits for what must come; far more than it takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Three nodes of one backplane.
#[derive(Clone)]
pub struct Nodes {
    pub a: Arc<dyn Backplane>,
    pub b: Arc<dyn Backplane>,
    pub c: Arc<dyn Backplane>,
    virtual_time: bool,
    // Makes names unique, as checks may share a server.
    tag: String,
    // Servers that end with the check.
    _kept: Arc<dyn Any + Send + Sync>,
}

impl Nodes {
    /// Nodes whose clock is tokio's paused one.
    pub fn of_virtual_time([a, b, c]: [Arc<dyn Backplane>; 3]) -> Nodes {
        Nodes {
            a,
            b,
            c,
            virtual_time: true,
            tag: tag(),
            _kept: Arc::new(()),
        }
    }

    /// Nodes on servers; `kept` is dropped when the check is over. Checks may share servers: all their names are their own.
    pub fn of_real_time(nodes: [Arc<dyn Backplane>; 3], kept: impl Any + Send + Sync) -> Nodes {
        Nodes {
            virtual_time: false,
            ..Nodes::of_virtual_time(nodes).keeping(kept)
        }
    }

    /// With something that must live as long.
    pub fn keeping(self, kept: impl Any + Send + Sync) -> Nodes {
        Nodes {
            _kept: Arc::new(kept),
            ..self
        }
    }

    /// The same nodes, with names that nobody has used yet.
    fn afresh(&self) -> Nodes {
        Nodes {
            tag: tag(),
            ..self.clone()
        }
    }

    pub fn all(&self) -> [Arc<dyn Backplane>; 3] {
        [self.a.clone(), self.b.clone(), self.c.clone()]
    }

    /// By how much nodes' estimates of the backplane's clock may differ, in milliseconds.
    pub fn slack(&self) -> Millis {
        if self.virtual_time { 1 } else { 500 }
    }

    /// The backplane's clock before and after something was done.
    pub async fn timed<T>(&self, deed: impl Future<Output = T>) -> (T, [Millis; 2]) {
        let begun = self.a.now();
        let done = deed.await;
        (done, [begun, self.a.now()])
    }

    /// Whether minutes cost nothing.
    pub fn is_virtual(&self) -> bool {
        self.virtual_time
    }

    /// A room of this check.
    pub fn room(&self, label: &str) -> Room {
        Room::parse(&self.name(label)).unwrap()
    }

    /// A name of this check, for keys, pools, nodes, seeks.
    pub fn name(&self, label: &str) -> String {
        format!("{label}-{}", self.tag)
    }

    /// A seeker of this check, whose mailbox is named like him.
    pub fn seeker(&self, id: &str, user: &str) -> Seeker {
        Seeker {
            id: self.name(id),
            user: self.name(user),
            mailbox: self.room(id),
            data: Bytes::from(format!("{{\"of\":\"{id}\"}}\n\0")),
        }
    }
}

fn tag() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// A check that has only so long for what it does besides sleeping, because something lapses. On real servers its failure
/// counts only if the machine let it do that in time; otherwise it is done again.
pub async fn timely<F>(
    nodes: &Nodes,
    sleeps: Duration,
    lapses: Duration,
    check: impl Fn(Nodes) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    for _ in 0..10 {
        let begun = Instant::now();
        let Err(failed) = tokio::spawn(check(nodes.afresh())).await else {
            return;
        };
        if nodes.is_virtual() || begun.elapsed() < sleeps + lapses {
            std::panic::resume_unwind(failed.into_panic());
        }
    }
    panic!("the machine never had time");
}

/// Whether a moment lies between these, give or take the slack.
#[track_caller]
pub fn assert_within(nodes: &Nodes, moment: Millis, [from, to]: [Millis; 2]) {
    let slack = nodes.slack();
    assert!(
        (from - slack..=to + slack).contains(&moment),
        "{moment} is not from {from} to {to}"
    );
}

/// Waits for a fact.
pub async fn wait_until<F: Future<Output = bool>>(what: &str, mut fact: impl FnMut() -> F) {
    let end = Instant::now() + PATIENCE;
    while !fact().await {
        assert!(Instant::now() < end, "waited in vain until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for what must come.
pub async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, coming).await {
        Ok(came) => came,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// The events `texts` as bytes.
pub fn events(texts: &[&str]) -> Vec<Bytes> {
    texts
        .iter()
        .map(|text| Bytes::copy_from_slice(text.as_bytes()))
        .collect()
}

/// An append of these, stamped now, without a deadline.
pub fn append(
    node: &dyn Backplane,
    epoch: Option<&Epoch>,
    expected: Seq,
    events: Vec<Bytes>,
) -> Append {
    Append {
        epoch: epoch.cloned(),
        expected,
        events,
        at: node.now(),
        deadline: None,
    }
}

/// Appends, which must succeed.
pub async fn must_append(node: &dyn Backplane, room: &Room, append: Append) -> Epoch {
    match node.append(room, append).await.unwrap() {
        Appended::Appended { epoch, .. } => epoch,
        other => panic!("{other:?}"),
    }
}

/// Creates the log of a room.
pub async fn create(node: &dyn Backplane, room: &Room, texts: &[&str]) -> Epoch {
    must_append(node, room, append(node, None, 0, events(texts))).await
}

/// All events of a room; none if there is no log.
pub async fn log(node: &dyn Backplane, room: &Room) -> Vec<Bytes> {
    let log = node.read(room, 0).await.unwrap();
    log.map(|log| log.events).unwrap_or_default()
}

/// One who listens to a room, and hears already.
pub struct Ear(pub Subscription);

impl Ear {
    pub async fn new(node: &dyn Backplane, room: &Room) -> Ear {
        let mut subscription = node.subscribe(room);
        let first = soon("the first signal", subscription.recv()).await;
        assert_eq!(first, Some(Signal::Resync), "the first signal");
        Ear(subscription)
    }

    /// Comes to a room in which something was published before, at a node that may listen at a replica, where some of that may
    /// still be on its way; and has heard all of it.
    pub async fn late(node: &dyn Backplane, room: &Room) -> Ear {
        let mut ear = Ear::new(node, room).await;
        node.publish(room, message("late", "")).await.unwrap();
        while ear.message().await.topic != "late" {}
        ear
    }

    /// The next signal, which must come.
    pub async fn next(&mut self) -> Signal {
        soon("a signal", self.0.recv())
            .await
            .expect("the backplane is open")
    }

    /// The next message, whatever comes before.
    pub async fn message(&mut self) -> Message {
        loop {
            if let Signal::Message(message) = self.next().await {
                return message;
            }
        }
    }

    /// The next message of another topic than this.
    pub async fn message_but(&mut self, topic: &str) -> Message {
        loop {
            let message = self.message().await;
            if message.topic != topic {
                return message;
            }
        }
    }

    /// The next attendance, whatever comes before.
    pub async fn attendance(&mut self) -> Attendance {
        loop {
            if let Signal::Attendance(attendance) = self.next().await {
                return attendance;
            }
        }
    }

    /// Events from `first` on, which must come without a gap, until there are so many. They may come in other portions than
    /// they were appended in.
    pub async fn events(&mut self, epoch: &Epoch, mut first: Seq, count: usize) -> Vec<Bytes> {
        let mut heard = Vec::new();
        while heard.len() < count {
            if let Signal::Events(log) = self.next().await {
                assert_eq!((&log.epoch, log.first), (epoch, first), "in order");
                first += log.events.len() as Seq;
                heard.extend(log.events);
            }
        }
        heard
    }

    /// Fails if anything of that kind is heard until `mark` is, a message that the caller has sent after.
    pub async fn nothing_before<T: Debug>(
        &mut self,
        mark: &str,
        kind: impl Fn(&Signal) -> Option<T>,
    ) {
        loop {
            let signal = self.next().await;
            if matches!(&signal, Signal::Message(message) if message.topic == mark) {
                return;
            }
            if let Some(heard) = kind(&signal) {
                panic!("heard {heard:?}");
            }
        }
    }
}

/// A message.
pub fn message(topic: &str, body: impl Into<Bytes>) -> Message {
    Message {
        topic: topic.into(),
        body: body.into(),
    }
}

/// Texts that have broken protocols, scripts and parsers before.
pub fn hostile_bytes() -> Vec<Bytes> {
    let texts: [&[u8]; 14] = [
        b"",
        b"\0",
        b"a\0b",
        b"\n",
        b"two\nlines\r\n",
        b"$-1\r\n*2\r\n+OK\r\n",
        b"\xff\xfe\xf0\x28\x8c\x28",
        b"{\"type\":\"move\",\"payload\":{}}",
        b"nil",
        b"false",
        b"123",
        b" ,;|:{}[]*?\\\"'%s%d",
        "♜♞♝♛ Zürich".as_bytes(),
        b"0",
    ];
    let big: Vec<u8> = (0..64 * 1024)
        .map(|index: usize| (index * 7 % 256) as u8)
        .collect();
    let texts = texts.iter().map(|text| Bytes::copy_from_slice(text));
    texts.chain([Bytes::from(big)]).collect()
}
