//! The coordinator's side of its workers: processes of this same program, and their words in one stream.

use crate::orders::{Duty, Order, Progress, Tally, Window, Word};
use anyhow::{Context, bail};
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    time::{Instant, timeout_at},
};

/// Some workers with the same duty.
pub struct Crew {
    workers: Vec<(Child, ChildStdin)>,
    words: mpsc::UnboundedReceiver<(usize, Word)>,
    progress: Vec<Progress>,
}

impl Crew {
    /// Starts so many.
    pub async fn start(len: usize, duty: impl Fn(usize) -> Duty) -> anyhow::Result<Crew> {
        let (sender, words) = mpsc::unbounded_channel();
        let mut workers = Vec::with_capacity(len);
        for number in 0..len {
            let mut child = Command::new(std::env::current_exe()?)
                .arg("worker")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .context("starting a worker")?;
            let stdin = child.stdin.take().context("a worker's standard input")?;
            let stdout = child.stdout.take().context("a worker's standard output")?;
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut lines = BufReader::new(stdout).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let word = serde_json::from_str(&line)
                        .unwrap_or_else(|error| Word::Failed(format!("{error}: {line}")));
                    if sender.send((number, word)).is_err() {
                        return;
                    }
                }
                let _ = sender.send((number, Word::Failed("a worker ended".to_owned())));
            });
            workers.push((child, stdin));
        }
        let mut crew = Crew {
            progress: vec![Progress::default(); len],
            workers,
            words,
        };
        for number in 0..len {
            crew.tell(number, &Order::Begin(duty(number))).await?;
        }
        Ok(crew)
    }

    pub fn len(&self) -> usize {
        self.workers.len()
    }

    pub async fn tell(&mut self, number: usize, order: &Order) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        let (_, stdin) = &mut self.workers[number];
        stdin.write_all(&line).await.context("a worker's orders")?;
        Ok(stdin.flush().await?)
    }

    pub async fn tell_all(&mut self, order: &Order) -> anyhow::Result<()> {
        for number in 0..self.len() {
            self.tell(number, order).await?;
        }
        Ok(())
    }

    /// Everybody's progress, added up.
    pub fn progress(&self) -> Progress {
        let mut sum = Progress::default();
        for progress in &self.progress {
            sum.ready += progress.ready;
            sum.failed += progress.failed;
            sum.delivered += progress.delivered;
        }
        sum
    }

    /// The next word that is not about progress; `None` when nothing was said until then.
    pub async fn word(&mut self, until: Instant) -> anyhow::Result<Option<(usize, Word)>> {
        loop {
            match timeout_at(until, self.words.recv()).await {
                Err(_) => return Ok(None),
                Ok(None) => bail!("all workers are gone"),
                Ok(Some((number, Word::Progress(progress)))) => self.progress[number] = progress,
                Ok(Some((number, Word::Failed(why)))) => bail!("worker {number}: {why}"),
                Ok(Some(word)) => return Ok(Some(word)),
            }
        }
    }

    /// Lets time pass, hearing of progress.
    pub async fn wait(&mut self, time: Duration) -> anyhow::Result<()> {
        match self.word(Instant::now() + time).await? {
            None => Ok(()),
            Some((number, word)) => bail!("worker {number} said unasked: {word:?}"),
        }
    }

    /// Waits until each worker has said something that `take` takes.
    pub async fn each<T>(
        &mut self,
        within: Duration,
        take: impl Fn(Word) -> Option<T>,
    ) -> anyhow::Result<Vec<T>> {
        let until = Instant::now() + within;
        let mut said: Vec<Option<T>> = (0..self.len()).map(|_| None).collect();
        while said.iter().any(Option::is_none) {
            let Some((number, word)) = self.word(until).await? else {
                bail!("workers did not answer within {within:?}");
            };
            said[number] = Some(take(word).context("an answer to something else")?);
        }
        Ok(said.into_iter().flatten().collect())
    }

    /// Answers when all of them count anew.
    pub async fn measure(&mut self, window: Window) -> anyhow::Result<()> {
        self.tell_all(&Order::Measure(window)).await?;
        let measuring = self.each(Duration::from_secs(60), |word| match word {
            Word::Measuring => Some(()),
            _ => None,
        });
        measuring.await.map(drop)
    }

    /// What they all counted.
    pub async fn report(&mut self, from: u64) -> anyhow::Result<Vec<Tally>> {
        self.tell_all(&Order::Report { from }).await?;
        self.each(Duration::from_secs(60), |word| match word {
            Word::Report(tally) => Some(*tally),
            _ => None,
        })
        .await
    }
}
