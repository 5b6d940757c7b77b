//! Every key and channel name, and which partition a thing belongs to. Nothing else in the crate spells a name.
//!
//! All names of a partition carry its number in braces, so that one slot of a Redis Cluster holds them and a script may touch
//! them together. An access list needs `~rookery:*` and `&rookery:*`.

use crate::Room;

/// One of the fixed number of parts that rooms, records, sets and pools are dealt to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Partition(pub u16);

/// Slots of a Redis Cluster.
const SLOTS: u16 = 16384;

/// Makes names.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
    partitions: u16,
}

impl Keys {
    /// Names for a database: its number is part of them, because channels, unlike keys, are shared by all databases of a server.
    pub fn new(database: i64, partitions: u16) -> Keys {
        let prefix = match database {
            0 => "rookery".to_owned(),
            other => format!("rookery.{other}"),
        };
        Keys { prefix, partitions }
    }

    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    pub fn all(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.partitions).map(Partition)
    }

    /// The partition of a name: FNV-1a of 64 bits, halves folded, modulo the number of partitions. A promise to all versions.
    fn deal(&self, name: &str) -> Partition {
        let hash = fnv1a(name.as_bytes());
        let folded = (hash ^ (hash >> 32)) & 0xffff_ffff;
        let remainder = folded % u64::from(self.partitions.max(1));
        Partition(u16::try_from(remainder).unwrap_or(0))
    }

    pub fn of_room(&self, room: &Room) -> Partition {
        self.deal(room.as_str())
    }

    /// Of a record or a set, by its key; of a pool, by its name.
    pub fn of_key(&self, key: &str) -> Partition {
        self.deal(key)
    }

    /// The cluster slot of all names of a partition.
    pub fn slot(partition: Partition) -> u16 {
        crc16(partition.0.to_string().as_bytes()) % SLOTS
    }

    fn name(&self, partition: Partition, kind: &str, rest: &str) -> String {
        let Keys { prefix, .. } = self;
        let Partition(number) = partition;
        format!("{prefix}:{{{number}}}:{kind}:{rest}")
    }

    /// How many partitions there are, as the first node wrote it. In partition 0, which always exists.
    pub fn partition_count(&self) -> String {
        format!("{}:{{0}}:partitions", self.prefix)
    }

    /// List: the epoch, then the events.
    pub fn log(&self, room: &Room) -> String {
        self.name(self.of_room(room), "log", room.as_str())
    }

    /// Sorted set: rooms by deadline, and a member that is no room.
    pub fn deadlines(&self, partition: Partition) -> String {
        self.name(partition, "deadlines", "")
    }

    /// Stream: what the archive has to write.
    pub fn queue(&self, partition: Partition) -> String {
        self.name(partition, "queue", "")
    }

    /// Hash: the life of that queue, and below which entry all is archived.
    pub fn archived(&self, partition: Partition) -> String {
        self.name(partition, "archived", "")
    }

    /// String: the archiver that reads the queues of a server, in the lowest of its partitions.
    pub fn archiver(&self, partition: Partition) -> String {
        self.name(partition, "archiver", "")
    }

    /// String: the node that sweeps the partition.
    pub fn sweeper(&self, partition: Partition) -> String {
        self.name(partition, "sweeper", "")
    }

    /// String: written before replicas are waited for.
    pub fn replicated(&self, partition: Partition) -> String {
        self.name(partition, "replicated", "")
    }

    /// String: when somebody was last there.
    pub fn beat(&self, partition: Partition) -> String {
        self.name(partition, "beat", "")
    }

    /// List: when nobody was.
    pub fn outages(&self, partition: Partition) -> String {
        self.name(partition, "outages", "")
    }

    /// Channel of a room.
    pub fn channel(&self, room: &Room) -> String {
        self.name(self.of_room(room), "room", room.as_str())
    }

    /// Channel by which one connection proves that it hears.
    pub fn probe(&self, partition: Partition, who: &str) -> String {
        self.name(partition, "probe", who)
    }

    /// List: the last lines of a topic.
    pub fn said(&self, room: &Room, topic: &str) -> String {
        self.name(
            self.of_room(room),
            "said",
            &format!("{}:{topic}", room.as_str()),
        )
    }

    /// Hash: what each node reported of a room, and the sums.
    pub fn attendance(&self, room: &Room) -> String {
        self.name(self.of_room(room), "here", room.as_str())
    }

    /// Sorted set: nodes by the end of their lease in a room.
    pub fn attendance_leases(&self, room: &Room) -> String {
        self.name(self.of_room(room), "until", room.as_str())
    }

    /// String: a record.
    pub fn record(&self, key: &str) -> String {
        self.name(self.of_key(key), "record", key)
    }

    /// Sorted sets: members by when they joined, and by when their time is over.
    pub fn set(&self, key: &str) -> [String; 2] {
        let partition = self.of_key(key);
        [
            self.name(partition, "set", key),
            self.name(partition, "set-until", key),
        ]
    }

    /// Of a pool: sorted sets of seeks by age and by lease, and a hash of what the seekers said.
    pub fn pool(&self, pool: &str) -> [String; 3] {
        let partition = self.of_key(pool);
        [
            self.name(partition, "seeks", pool),
            self.name(partition, "seeks-until", pool),
            self.name(partition, "seekers", pool),
        ]
    }

    /// What the names of a pool's offers begin with: hashes, an offer each and, once accepted, its pairing.
    pub fn offers(&self, pool: &str) -> String {
        self.name(self.of_key(pool), "offer", &format!("{pool}:"))
    }

    /// What the names begin with under which each seeker's last offer stands: strings.
    pub fn offers_made(&self, pool: &str) -> String {
        self.name(self.of_key(pool), "made", &format!("{pool}:"))
    }

    /// The same of the last offer a seeker got.
    pub fn offers_got(&self, pool: &str) -> String {
        self.name(self.of_key(pool), "got", &format!("{pool}:"))
    }

    /// Which of some equal things a node begins with.
    pub fn deal_node(node: &str, things: usize) -> usize {
        usize::try_from(fnv1a(node.as_bytes()) >> 8).unwrap_or(0) % things.max(1)
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// CRC-16/XMODEM, as Redis Cluster hashes tags. A few hundred bytes at start, so no table.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hashes_are_those_of_the_books() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(Keys::slot(Partition(0)), 13907); // CLUSTER KEYSLOT 0
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn nodes_are_spread_evenly_over_replicas() {
        for replicas in [2, 3, 5] {
            let mut counts = vec![0_usize; replicas];
            for number in 0..1_000 {
                counts[Keys::deal_node(&format!("gateway-{number}:8080"), replicas)] += 1;
            }
            let even = 1_000 / replicas;
            for count in &counts {
                assert!(count.abs_diff(even) < even / 5, "{counts:?}");
            }
        }
    }

    /// Rooms written by one version are looked for by the next: these must never change.
    #[test]
    fn rooms_stay_in_their_partitions() {
        let keys = Keys::new(0, 256);
        let dealt = ["a", "lobby", "Zx81kQpLw0Aa", "0123456789ABCDEFabcd"]
            .map(|name| keys.of_room(&Room::parse(name).unwrap()).0);
        assert_eq!(dealt, [192, 133, 110, 226]);
        let room = Room::parse("Zx81kQpLw0Aa").unwrap();
        assert_eq!(keys.log(&room), "rookery:{110}:log:Zx81kQpLw0Aa");
        assert_eq!(
            Keys::new(3, 256).channel(&room),
            "rookery.3:{110}:room:Zx81kQpLw0Aa"
        );
    }

    #[test]
    fn rooms_are_dealt_evenly() {
        let keys = Keys::new(0, 256);
        let mut counts = vec![0; 256];
        for number in 0..256 * 100 {
            let partition = keys.of_room(&Room::parse(&format!("game{number}")).unwrap());
            counts[usize::from(partition.0)] += 1;
        }
        // 100 expected, standard deviation 10.
        assert!(
            counts.iter().all(|count| (50..150).contains(count)),
            "{counts:?}"
        );
    }
}
