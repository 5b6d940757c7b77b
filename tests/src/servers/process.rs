//! A child process in the hands of a test: killed, paused, gone with its owner.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    /// Ends the program when this process ends without ending it, as when a test is killed: it reads from here until then.
    guardian: Child,
}

impl Process {
    /// Starts it; `package` is what to install if it is not there.
    pub fn start(command: &mut Command, package: &str) -> Process {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => Process {
                guardian: guard(&child),
                child: Mutex::new(child),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => panic!(
                "{program} is not on PATH: install the Debian package {package} (apt-get install {package})"
            ),
            Err(error) => panic!("cannot start {program}: {error}"),
        }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        let mut child = self.child();
        // Once it was waited for, its number may be somebody else's.
        if let Ok(None) = child.try_wait() {
            let pid = Pid::from_child(&child);
            kill_process(pid, signal).expect("our own child can be signalled");
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child().try_wait().ok().flatten()
    }

    /// Ends it at once, as kill -9 does.
    pub fn kill(&self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Stops it where it is.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.guardian.kill();
        let _ = self.guardian.wait();
    }
}

fn guard(child: &Child) -> Child {
    let pid = child.id().to_string();
    Command::new("sh")
        .args(["-c", "read _; kill -9 $0", &pid])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}
