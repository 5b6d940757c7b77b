//! One gateway of a cluster, and the ways it can end.

use super::{Over, PATIENCE, backing::Backing, binary, config};
use gateway::Running;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::{runtime::Runtime, time::Instant};

/// A gateway.
#[derive(Debug)]
pub struct Node {
    /// Its name in the cluster.
    pub name: String,
    /// Its public port.
    pub http: SocketAddr,
    /// Its admin port.
    pub admin: SocketAddr,
    life: Life,
}

#[derive(Debug)]
enum Life {
    /// In threads of its own: when they end it is gone as a killed process is.
    Threads(Runtime, Running),
    /// In the test's runtime.
    Here(Running),
    /// A process, and where its log is.
    Process(Child, PathBuf),
    Dead,
}

impl Node {
    /// A process that says something else first than where it listens is the error.
    pub(super) async fn start(
        backing: &Backing,
        name: String,
        flags: &[String],
        logs: &Path,
    ) -> Result<Node, String> {
        let (life, http, admin) = match backing.over {
            Over::Time => {
                let running = gateway::start(config(flags), backing.given()).await;
                let running = running.expect("a gateway starts");
                let (http, admin) = (running.http, running.admin);
                (Life::Here(running), http, admin)
            }
            Over::Embedded | Over::Redis => {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .thread_name(&name)
                    .enable_all()
                    .build()
                    .expect("threads");
                let start = gateway::start(config(flags), backing.given());
                let running = runtime.spawn(start).await.expect("no panic");
                let running = running.expect("a gateway starts");
                let (http, admin) = (running.http, running.admin);
                (Life::Threads(runtime, running), http, admin)
            }
            Over::Processes | Over::Tunnels | Over::RedisCluster | Over::Sentinel | Over::Alone => {
                process(&name, flags, logs)?
            }
        };
        Ok(Node {
            name,
            http,
            admin,
            life,
        })
    }

    /// Whether it was not ended.
    pub fn is_alive(&self) -> bool {
        !matches!(self.life, Life::Dead)
    }

    /// The gateway itself, if it is in this process.
    pub fn inside(&self) -> &gateway::node::Node {
        match &self.life {
            Life::Threads(_, running) | Life::Here(running) => &running.node,
            Life::Process(..) | Life::Dead => panic!("{} is not in this process", self.name),
        }
    }

    /// Its number, if it is a process of its own.
    pub fn pid(&self) -> u32 {
        let Life::Process(child, _) = &self.life else {
            panic!("{} is not a process", self.name)
        };
        child.id()
    }

    /// Bytes of memory that its process has, if it is a process of its own.
    pub fn memory(&self) -> u64 {
        let Life::Process(child, _) = &self.life else {
            panic!("{} is not a process", self.name)
        };
        resident(child.id())
    }

    /// Seconds of processor time that its process has used, in steps of 10 ms.
    pub fn cpu_seconds(&self) -> f64 {
        let Life::Process(child, _) = &self.life else {
            panic!("{} is not a process", self.name)
        };
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        // proc_pid_stat(5): after the name in brackets, utime and stime are the 12th and 13th, in ticks of 10 ms.
        let fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let ticks: f64 = fields
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<f64>().ok())
            .sum();
        ticks / 100.0
    }

    /// Ends it as kill -9 does.
    pub fn kill(&mut self) {
        match std::mem::replace(&mut self.life, Life::Dead) {
            Life::Threads(runtime, running) => {
                runtime.shutdown_background();
                drop(running);
            }
            Life::Here(running) => running.kill(),
            Life::Process(mut child, log) => {
                let _ = child.kill();
                let _ = child.wait();
                tell_log(&self.name, &log);
            }
            Life::Dead => {}
        }
    }

    /// Stops a process where it is (SIGSTOP); answers when it stands.
    pub async fn pause(&self) {
        self.signal(Signal::STOP);
        let Life::Process(child, _) = &self.life else {
            return;
        };
        let status = format!("/proc/{}/status", child.id());
        super::until("the process stands", async || {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            status.lines().any(|line| line.starts_with("State:\tT"))
        })
        .await;
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks a process to leave (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        let Life::Process(child, _) = &self.life else {
            panic!("{} is not a process", self.name)
        };
        // Its number is its own until it was waited for, which takes `&mut self`.
        kill_process(Pid::from_child(child), signal).expect("our own child can be signalled");
    }

    pub(super) async fn stop(&mut self) -> i32 {
        match std::mem::replace(&mut self.life, Life::Dead) {
            Life::Threads(runtime, running) => {
                let stopping = runtime.spawn(running.stop());
                let stopped = tokio::time::timeout(2 * PATIENCE, stopping).await;
                stopped.expect("it leaves in time").expect("no panic");
                runtime.shutdown_background();
                0
            }
            Life::Here(running) => {
                running.stop().await;
                0
            }
            Life::Process(mut child, log) => {
                kill_process(Pid::from_child(&child), Signal::TERM).expect("our own child");
                let end = Instant::now() + 2 * PATIENCE;
                loop {
                    if let Some(status) = child.try_wait().expect("our own child") {
                        tell_log(&self.name, &log);
                        return status.code().unwrap_or(-1);
                    }
                    assert!(Instant::now() < end, "{} does not leave", self.name);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            Life::Dead => panic!("{} is gone already", self.name),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a process, and reads from its first line where it listens.
fn process(
    name: &str,
    flags: &[String],
    logs: &Path,
) -> Result<(Life, SocketAddr, SocketAddr), String> {
    std::fs::create_dir_all(logs).expect("a folder for logs");
    let log = logs.join(format!("{name}.log"));
    let mut child = Command::new(binary::path())
        .arg("serve")
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&log).expect("a log"))
        .spawn()
        .expect("rookery starts");
    let listening = match Listening::read(&mut child) {
        Ok(listening) => listening,
        Err(first) => {
            let _ = child.kill();
            let _ = child.wait();
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(format!(
                "{name} said {first:?} first, and on its log:\n{said}"
            ));
        }
    };
    let life = Life::Process(child, log);
    Ok((life, listening.http, listening.admin))
}

/// What `rookery serve` says first.
#[derive(Debug)]
pub struct Listening {
    /// The line.
    pub line: String,
    /// The public port.
    pub http: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
}

impl Listening {
    /// Waits for it, on a standard output that is piped. If it is something else, that is the error.
    pub fn read(child: &mut Child) -> Result<Listening, String> {
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        let read = BufReader::new(stdout).read_line(&mut line);
        let address = |key: &str| {
            let mut words = line.split_whitespace();
            words.find_map(|word| word.strip_prefix(key)?.parse().ok())
        };
        match (read, address("http="), address("admin=")) {
            (Ok(_), Some(http), Some(admin)) => Ok(Listening { line, http, admin }),
            _ => Err(line),
        }
    }
}

/// What a process wrote is shown with a test that fails.
fn tell_log(name: &str, log: &Path) {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    if std::thread::panicking() || text.contains("panicked at") {
        let from = text.len().saturating_sub(8_000);
        let from = (from..text.len()).find(|at| text.is_char_boundary(*at));
        println!("--- log of {name}\n{}", &text[from.unwrap_or(0)..]);
    }
    if text.contains("panicked at") {
        super::panics::note(format!("{name} panicked, see its log above"));
    }
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kilobytes.expect("a running process has memory") * 1024
}
