#![allow(clippy::unwrap_used)]
use super::*;
use crate::{embedded::Options, *};
use bytes::Bytes;
use std::{
    fs,
    io::{BufRead, BufReader, Seek, SeekFrom},
    process::{Command, Stdio},
};
use tempfile::TempDir;
use tokio::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn start(dir: &Path) -> Embedded {
    // Another test's child process holds every lock of this one between its fork and its exec.
    let end = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        match try_start(dir) {
            Err(OpenError::InUse(_)) if std::time::Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(1));
            }
            started => return started.unwrap(),
        }
    }
}

fn try_start(dir: &Path) -> Result<Embedded, OpenError> {
    Embedded::new(Options {
        journal: Some(dir.into()),
        ..Options::default()
    })
}

fn room(name: &str) -> Room {
    Room::parse(name).unwrap()
}

async fn try_append(
    backplane: &Embedded,
    name: &str,
    epoch: Option<&Epoch>,
    expected: Seq,
    text: &str,
) -> Answer<Appended> {
    let append = Append {
        epoch: epoch.cloned(),
        expected,
        events: vec![Bytes::copy_from_slice(text.as_bytes())],
        at: backplane.now(),
        deadline: Some(1_000 + expected as Millis),
    };
    backplane.append(&room(name), append).await
}

async fn append(
    backplane: &Embedded,
    name: &str,
    epoch: Option<&Epoch>,
    expected: Seq,
    text: &str,
) -> Epoch {
    match try_append(backplane, name, epoch, expected, text)
        .await
        .unwrap()
    {
        Appended::Appended { epoch, .. } => epoch,
        other => panic!("{other:?}"),
    }
}

async fn texts(backplane: &Embedded, name: &str) -> Vec<Bytes> {
    let log = backplane.read(&room(name), 0).await.unwrap();
    log.map(|log| log.events).unwrap_or_default()
}

/// The files of a journal, without the lock.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| !path.ends_with("journal.lock"))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn what_matters_comes_back() {
    let dir = TempDir::new().unwrap();
    let before = start(dir.path());
    let epoch = append(&before, "one", None, 0, "a").await;
    append(&before, "one", Some(&epoch), 1, "b\0\n").await;
    append(&before, "two", None, 0, "").await;
    before
        .put("kept", "old".into(), DAY, Put::Replace)
        .await
        .unwrap();
    before
        .put("kept", "new".into(), DAY, Put::Replace)
        .await
        .unwrap();
    before
        .put("kept", "refused".into(), DAY, Put::IfAbsent)
        .await
        .unwrap();
    before
        .put("removed", "x".into(), DAY, Put::Replace)
        .await
        .unwrap();
    before.remove("removed").await.unwrap();
    before
        .put("short", "x".into(), DAY, Put::Replace)
        .await
        .unwrap();
    before
        .put("short", "y".into(), Duration::from_millis(1), Put::Replace)
        .await
        .unwrap();
    for member in ["b", "gone", "a"] {
        before.join_set("set", member, DAY).await.unwrap();
    }
    before.leave_set("set", "gone").await.unwrap();
    let seeker = |id: &str| Seeker {
        id: id.into(),
        user: id.into(),
        mailbox: room(id),
        data: Bytes::new(),
    };
    before.seek("pool", &seeker("ann")).await.unwrap();
    let Sought::Offered { offer } = before.seek("pool", &seeker("bob")).await.unwrap() else {
        panic!("nobody waits");
    };
    before
        .accept_offer("pool", &offer, "pairing".into())
        .await
        .unwrap();
    drop(before);
    std::thread::sleep(Duration::from_millis(5));

    let after = start(dir.path());
    assert_eq!(texts(&after, "one").await, ["a", "b\0\n"].map(Bytes::from));
    assert_eq!(
        after.end(&room("one")).await.unwrap(),
        Some((epoch.clone(), 2))
    );
    assert_eq!(texts(&after, "two").await, [Bytes::new()]);
    let due = after.sweep("node", 5_000, 10, DAY).await.unwrap();
    assert_eq!(due, [(room("two"), 1_000), (room("one"), 1_001)]);
    assert_eq!(after.get("kept").await.unwrap(), Some("new".into()));
    assert_eq!(after.get("removed").await.unwrap(), None);
    assert_eq!(after.get("short").await.unwrap(), None);
    assert_eq!(after.set("set").await.unwrap(), ["b", "a"]);
    let pairing = Some(Bytes::from("pairing"));
    assert_eq!(after.settle_offer("pool", &offer).await.unwrap(), pairing);
    let repeated = after.seek("pool", &seeker("bob")).await.unwrap();
    assert_eq!(repeated, Sought::Offered { offer });
    let repeated = try_append(&after, "one", Some(&epoch), 1, "b\0\n")
        .await
        .unwrap();
    assert_eq!(
        repeated,
        Appended::AlreadyAppended {
            epoch: epoch.clone()
        }
    );
    append(&after, "one", Some(&epoch), 2, "c").await;
    drop(after);
    assert_eq!(texts(&start(dir.path()), "one").await.len(), 3);
}

#[tokio::test]
async fn a_torn_end_is_cut_wherever_it_tore() {
    let dir = TempDir::new().unwrap();
    let backplane = start(dir.path());
    let epoch = append(&backplane, "room", None, 0, "first").await;
    let mut ends = vec![fs::metadata(&files(dir.path())[0]).unwrap().len()];
    for (seq, text) in (1..).zip(["second", "third"]) {
        append(&backplane, "room", Some(&epoch), seq, text).await;
        ends.push(fs::metadata(&files(dir.path())[0]).unwrap().len());
    }
    drop(backplane);
    let whole = fs::read(&files(dir.path())[0]).unwrap();
    assert_eq!(whole.len() as u64, ends[2]);
    let noise: [&[u8]; 4] = [
        b"",
        b"\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\xff\xff\xff\x00garbage!!",
        b"\x05\0\0\0",
    ];
    for len in 0..=whole.len() {
        for noise in noise {
            let dir = TempDir::new().unwrap();
            let torn = [&whole[..len], noise].concat();
            // What looks like a file of another version is not touched; see below.
            if len < frame::HEADING.len() && torn.len() >= frame::HEADING.len() {
                continue;
            }
            fs::write(dir.path().join("journal.000001"), torn).unwrap();
            let kept = ends.iter().filter(|end| **end <= len as u64).count();
            let backplane = start(dir.path());
            assert_eq!(
                texts(&backplane, "room").await,
                ["first", "second", "third"][..kept],
                "cut at {len}"
            );
            let epoch = (kept > 0).then_some(&epoch);
            let again = append(&backplane, "room", epoch, kept as Seq, "again").await;
            drop(backplane);
            let backplane = start(dir.path());
            assert_eq!(
                texts(&backplane, "room").await.len(),
                kept + 1,
                "cut at {len}"
            );
            assert_eq!(
                backplane.end(&room("room")).await.unwrap().unwrap().0,
                again
            );
        }
    }
}

#[tokio::test]
async fn a_hole_is_cut_there_and_what_stood_behind_is_kept() {
    let dir = TempDir::new().unwrap();
    let backplane = start(dir.path());
    let epoch = append(&backplane, "room", None, 0, "first").await;
    let hole = fs::metadata(&files(dir.path())[0]).unwrap().len();
    for seq in 1..4 {
        append(&backplane, "room", Some(&epoch), seq, "more").await;
    }
    drop(backplane);
    let mut file = File::options()
        .write(true)
        .open(&files(dir.path())[0])
        .unwrap();
    let len = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(hole + 20)).unwrap();
    file.write_all(b"\0").unwrap();
    drop(file);
    assert_eq!(texts(&start(dir.path()), "room").await, ["first"]);
    let kept = dir.path().join(format!("journal.000001.cut-at-{hole}"));
    assert_eq!(fs::metadata(kept).unwrap().len(), len - hole);
}

#[tokio::test]
async fn what_is_not_understood_is_refused_and_left_alone() {
    let strange = [frame::HEADING, b"\x01\0\0\0"].concat();
    let mut unknown = frame::HEADING.to_vec();
    frame::frame(b"\xf7 from the future", &mut unknown).unwrap();
    let mut gap = frame::HEADING.to_vec();
    let appending = Appending {
        room: room("room"),
        epoch: Epoch::new(1, "x"),
        first: 3,
        at: 0,
        deadline: None,
        events: vec![Bytes::new()],
    };
    frame::frame(&Record::Append(appending).encode(), &mut gap).unwrap();
    for (first, second) in [
        (&b"rookery journal 2\n and so on"[..], None),
        (b"not a journal at all", None),
        (&unknown, None),
        (&gap, None),
        // Torn, but not the one that grows.
        (&strange, Some(frame::HEADING)),
    ] {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("journal.000001"), first).unwrap();
        if let Some(second) = second {
            fs::write(dir.path().join("journal.000002"), second).unwrap();
        }
        let refused = try_start(dir.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
        assert_eq!(fs::read(dir.path().join("journal.000001")).unwrap(), first);
    }
}

#[tokio::test]
async fn one_process_at_a_time() {
    let dir = TempDir::new().unwrap();
    let first = start(dir.path());
    let refused = try_start(dir.path()).unwrap_err();
    assert!(matches!(refused, OpenError::InUse(_)));
    assert!(refused.to_string().contains("in use by another process"));
    drop(first);
    start(dir.path());
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_stop_play() {
    let dir = TempDir::new().unwrap();
    let at = |start| {
        let options = Options {
            journal: Some(dir.path().into()),
            start: Some(start),
            ..Options::default()
        };
        Embedded::new(options).unwrap()
    };
    let epoch = append(&at(5_000_000), "room", None, 0, "a").await;
    let after = at(1_000_000);
    assert!(after.now() >= 5_000_000);
    append(&after, "room", Some(&epoch), 1, "b").await;
}

/// A disk that is full after so many bytes.
#[derive(Debug)]
struct Full {
    file: File,
    room: usize,
    cuts_fail: bool,
}

impl Disk for Full {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let fits = bytes.len().min(self.room);
        self.file.write_all(&bytes[..fits])?;
        self.room -= fits;
        match fits < bytes.len() {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        match self.cuts_fail {
            true => Err(io::ErrorKind::Other.into()),
            false => self.file.set_len(len),
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_nothing_is_seen_or_acknowledged() {
    for room_left in 0..120 {
        let dir = TempDir::new().unwrap();
        let backplane = start(dir.path());
        let epoch = append(&backplane, "room", None, 0, "first").await;
        let mut ear = backplane.subscribe(&room("room"));
        assert_eq!(ear.recv().await, Some(Signal::Resync));
        let path = files(dir.path())[0].clone();
        let disk = |room, cuts_fail| {
            let file = File::options().append(true).open(&path).unwrap();
            let full = Full {
                file,
                room,
                cuts_fail,
            };
            let journal = backplane.shared.journal.as_ref().unwrap();
            journal.active.lock().unwrap().file = Box::new(full);
        };
        disk(room_left, room_left % 2 == 0);
        let text = "second, long enough not to fit whatever was left of it, and then some more of the same";
        for _ in 0..3 {
            try_append(&backplane, "room", Some(&epoch), 1, text)
                .await
                .unwrap_err();
            assert!(!backplane.health().reachable);
        }
        assert_eq!(texts(&backplane, "room").await, ["first"]);
        backplane
            .put("key", "x".into(), DAY, Put::Replace)
            .await
            .unwrap_err();
        assert_eq!(backplane.get("key").await.unwrap(), None);
        disk(usize::MAX, false);
        append(&backplane, "room", Some(&epoch), 1, "third").await;
        assert!(backplane.health().reachable);
        let Some(Signal::Events(log)) = ear.recv().await else {
            panic!("nothing heard");
        };
        assert_eq!(log.events, ["third"]);
        drop(backplane);
        assert_eq!(texts(&start(dir.path()), "room").await, ["first", "third"]);
    }
}

#[tokio::test]
async fn compaction_beside_running_games_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let options = Options {
        journal: Some(dir.path().into()),
        ..Options::default()
    };
    let mut backplane = Embedded::new(options).unwrap();
    let shared = std::sync::Arc::get_mut(&mut backplane.shared).unwrap();
    shared.journal.as_mut().unwrap().compact_len = 20_000;
    let journal = || backplane.shared.journal.as_ref().unwrap();
    let number = || journal().active.lock().unwrap().number;
    let mut epoch = None;
    let mut end: Seq = 0;
    // Each file after the first tells of a compaction begun.
    while number() < 5 || !end.is_multiple_of(50) {
        epoch = Some(append(&backplane, "room", epoch.as_ref(), end, "event").await);
        let value = Bytes::from(end.to_string());
        backplane
            .put(&format!("key{}", end % 50), value, DAY, Put::Replace)
            .await
            .unwrap();
        backplane
            .join_set("set", &format!("member{}", end % 7), DAY)
            .await
            .unwrap();
        end += 1;
    }
    while journal().is_compacting.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(files(dir.path()).len() <= 2, "{:?}", files(dir.path()));
    drop(backplane);
    for _ in 0..2 {
        let backplane = start(dir.path());
        assert_eq!(texts(&backplane, "room").await.len() as Seq, end);
        for key in 0..50 {
            let value = backplane.get(&format!("key{key}")).await.unwrap();
            assert_eq!(value, Some(Bytes::from((end - 50 + key).to_string())));
        }
        assert_eq!(backplane.set("set").await.unwrap().len(), 7);
    }
}

#[tokio::test]
async fn compaction_at_the_start_drops_what_is_outdated() {
    let dir = TempDir::new().unwrap();
    let backplane = start(dir.path());
    append(&backplane, "room", None, 0, "event").await;
    let value = Bytes::from(vec![7; 10_000]);
    for _ in 0..200 {
        backplane
            .put("key", value.clone(), DAY, Put::Replace)
            .await
            .unwrap();
    }
    drop(backplane);
    let len = |dir: &TempDir| fs::metadata(&files(dir.path())[0]).unwrap().len();
    assert!(len(&dir) > 2_000_000);
    for _ in 0..2 {
        let backplane = start(dir.path());
        assert_eq!(files(dir.path()).len(), 1);
        assert!(len(&dir) < 11_000);
        assert_eq!(texts(&backplane, "room").await, ["event"]);
        assert_eq!(backplane.get("key").await.unwrap(), Some(value.clone()));
    }
}

#[tokio::test]
async fn a_crash_between_the_steps_of_compaction_does_no_harm() {
    let dir = TempDir::new().unwrap();
    let backplane = start(dir.path());
    append(&backplane, "room", None, 0, "event").await;
    backplane
        .put("key", "old".into(), DAY, Put::Replace)
        .await
        .unwrap();
    backplane
        .put("gone", "x".into(), DAY, Put::Replace)
        .await
        .unwrap();
    let old = fs::read(&files(dir.path())[0]).unwrap();
    backplane
        .put("key", "new".into(), DAY, Put::Replace)
        .await
        .unwrap();
    backplane.remove("gone").await.unwrap();
    drop(backplane);
    let path = |name: &str| dir.path().join(name);
    let all = fs::read(path("journal.000001")).unwrap();
    compact::compact(&Files::open(dir.path()).unwrap(), 1, 0).unwrap();
    let compacted = fs::read(path("journal.000001")).unwrap();
    type Crash<'a> = &'a [(&'a str, &'a [u8])];
    let crashes: [Crash; 5] = [
        // While writing the new file; with the next one made, or only just.
        &[
            ("journal.000001", &all),
            ("journal.000001.new", &compacted[..40]),
        ],
        &[
            ("journal.000001", &all),
            ("journal.000001.new", &compacted),
            ("journal.000002", frame::HEADING),
        ],
        &[("journal.000001", &all), ("journal.000002", b"rook")],
        // After renaming, before the older ones were removed.
        &[("journal.000001", &old), ("journal.000002", &compacted)],
        &[
            ("journal.000001", &old),
            ("journal.000002", &compacted),
            ("journal.000003", frame::HEADING),
        ],
    ];
    for crash in crashes {
        for file in files(dir.path()) {
            fs::remove_file(file).unwrap();
        }
        for (name, bytes) in crash {
            fs::write(path(name), bytes).unwrap();
        }
        let backplane = start(dir.path());
        assert_eq!(texts(&backplane, "room").await, ["event"]);
        assert_eq!(backplane.get("key").await.unwrap(), Some("new".into()));
        assert_eq!(backplane.get("gone").await.unwrap(), None);
        let (epoch, _) = backplane.end(&room("room")).await.unwrap().unwrap();
        append(&backplane, "room", Some(&epoch), 1, "more").await;
        drop(backplane);
        assert_eq!(texts(&start(dir.path()), "room").await.len(), 2);
    }
}

/// Set for the process that is to be killed.
const VICTIM: &str = "ROOKERY_TEST_JOURNAL_OF_VICTIM";

/// Not a test of its own: what the victim of the next one does.
#[tokio::test]
async fn victim() {
    let Some(dir) = std::env::var_os(VICTIM) else {
        return;
    };
    let backplane = start(Path::new(&dir));
    let mut epoch = backplane.end(&room("room")).await.unwrap();
    loop {
        let (named, seq) = epoch.map_or((None, 0), |(epoch, end)| (Some(epoch), end));
        let named = append(
            &backplane,
            "room",
            named.as_ref(),
            seq,
            &format!("event {seq}"),
        )
        .await;
        println!("acknowledged {seq}");
        epoch = Some((named, seq + 1));
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let dir = TempDir::new().unwrap();
    for round in 1..6 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::journal::tests::victim", "--nocapture"])
            .env(VICTIM, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let numbers = lines.filter_map(|line| {
            line.unwrap()
                .strip_prefix("acknowledged ")?
                .parse::<u64>()
                .ok()
        });
        let mut acknowledged = 0;
        for (count, number) in numbers.enumerate() {
            acknowledged = number + 1;
            if count == 200 * round {
                victim.kill().unwrap();
            }
        }
        victim.wait().unwrap();
        assert!(acknowledged > 200);
        let backplane = start(dir.path());
        let kept = texts(&backplane, "room").await;
        assert!(
            kept.len() as u64 >= acknowledged,
            "{} of {acknowledged}",
            kept.len()
        );
        for (seq, event) in kept.iter().enumerate() {
            assert_eq!(*event, format!("event {seq}"));
        }
    }
}

fn start_with_queue(dir: &Path) -> Embedded {
    let options = Options {
        journal: Some(dir.into()),
        queue: true,
        ..Options::default()
    };
    let end = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        match Embedded::new(options.clone()) {
            Err(OpenError::InUse(_)) if std::time::Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(1));
            }
            started => return started.unwrap(),
        }
    }
}

/// What waits for the archive: rooms, from where on, and how many events.
async fn waiting(backplane: &Embedded) -> Vec<(String, Seq, usize, QueuePosition)> {
    let take = Take {
        limit: 100,
        lease: Duration::from_secs(1),
        only: None,
    };
    let entries = backplane.take("archiver", &take).await.unwrap();
    let mut waiting: Vec<_> = entries
        .into_iter()
        .map(|entry| match entry.content {
            Content::Events { room, log } => (
                room.to_string(),
                log.first,
                log.events.len(),
                entry.position,
            ),
            Content::Unreadable(bytes) => panic!("{bytes:?}"),
        })
        .collect();
    waiting.sort();
    waiting
}

#[tokio::test]
async fn what_is_not_archived_waits_again_after_a_restart() {
    let dir = TempDir::new().unwrap();
    // Before there was an archive.
    let backplane = start(dir.path());
    let old = append(&backplane, "old", None, 0, "event").await;
    drop(backplane);

    let backplane = start_with_queue(dir.path());
    append(&backplane, "all", None, 0, "event").await;
    let part = append(&backplane, "part", None, 0, "event").await;
    let taken = waiting(&backplane).await;
    let names: Vec<_> = taken.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["all", "old", "part"]);
    append(&backplane, "part", Some(&part), 1, "event").await;
    let positions = [taken[0].3, taken[2].3];
    backplane.acknowledge(&positions).await.unwrap();
    drop(backplane);

    let backplane = start_with_queue(dir.path());
    let taken = waiting(&backplane).await;
    let kept: Vec<_> = taken
        .iter()
        .map(|(name, first, count, _)| (name.as_str(), *first, *count))
        .collect();
    assert_eq!(kept, [("old", 0, 1), ("part", 1, 1)]);
    assert!(!backplane.forget(&room("old"), &old, 1).await.unwrap());
    let positions = [taken[0].3, taken[1].3];
    backplane.acknowledge(&positions).await.unwrap();
    assert!(backplane.forget(&room("old"), &old, 1).await.unwrap());
    drop(backplane);

    let backplane = start_with_queue(dir.path());
    assert_eq!(waiting(&backplane).await, []);
    assert_eq!(backplane.end(&room("old")).await.unwrap(), None);
    assert_eq!(texts(&backplane, "part").await.len(), 2);
}

#[tokio::test]
async fn compaction_leaves_out_what_was_forgotten() {
    let dir = TempDir::new().unwrap();
    let backplane = start(dir.path());
    let long = "x".repeat(1_000);
    for game in 0..600 {
        let name = format!("room{game}");
        let mut epoch = append(&backplane, &name, None, 0, &long).await;
        for seq in 1..3 {
            epoch = append(&backplane, &name, Some(&epoch), seq, &long).await;
        }
        if game != 17 {
            assert!(backplane.forget(&room(&name), &epoch, 3).await.unwrap());
        }
        if game == 5 {
            // A room of that name begins anew.
            append(&backplane, &name, None, 0, "again").await;
        }
    }
    drop(backplane);
    let len = |dir: &Path| -> u64 {
        let sizes = files(dir)
            .into_iter()
            .map(|file| fs::metadata(file).unwrap().len());
        sizes.sum()
    };
    assert!(len(dir.path()) > 1_700_000);
    for _ in 0..2 {
        let backplane = start(dir.path());
        assert!(len(dir.path()) < 20_000, "{}", len(dir.path()));
        assert_eq!(texts(&backplane, "room17").await.len(), 3);
        assert_eq!(texts(&backplane, "room5").await, ["again"]);
        assert!(texts(&backplane, "room6").await.is_empty());
    }
}
