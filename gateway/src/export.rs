//! `rookery export`: the whole archive as PGN, a page of games in memory at a time.

use crate::{config::Config, room::Live};
use anyhow::Context;
use archive::Store;
use indicatif::{ProgressBar, ProgressStyle};
use shared::notation::pgn::{self, Tags};
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

/// Games read at a time.
const PAGE: i64 = 200;

/// Writes all finished games, oldest first, to a file or to standard output.
pub async fn pgn(config: &Config, output: Option<&Path>) -> anyhow::Result<()> {
    let url = config
        .database()
        .context("--database-url is needed: export what?")?;
    let store = Store::open(&url).await.context("--database-url")?;
    let mut to: Box<dyn Write> = match output {
        Some(path) => {
            let file = File::create(path)
                .with_context(|| format!("{} cannot be written", path.display()))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(io::stdout())),
    };
    // On standard error, and only where that is a terminal.
    let bar = ProgressBar::new(store.finished().await?).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} games, {per_sec}, {eta} left")
            .expect("a constant that is right"),
    );
    let written = write(&store, &mut to, |games| bar.inc(games)).await?;
    to.flush().context("the end cannot be written")?;
    bar.finish_and_clear();
    eprintln!("{written} games");
    Ok(())
}

/// Writes all finished games; answers how many.
pub async fn write(
    store: &Store,
    to: &mut dyn Write,
    mut progress: impl FnMut(u64),
) -> anyhow::Result<u64> {
    let mut written = 0;
    let mut after: Option<(i64, String)> = None;
    loop {
        let page = store.oldest(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(written);
        };
        after = Some(last.clone());
        for (_, id) in &page {
            let Some(log) = store.log(id).await? else {
                continue;
            };
            match Live::fold(log.epoch, &log.events) {
                Ok(live) => {
                    let text = pgn::write(&live.game.pgn(&Tags::default()));
                    writeln!(to, "{text}").context("a game cannot be written")?;
                    written += 1;
                }
                Err(misfit) => eprintln!("game {id} is left out: {misfit}"),
            }
        }
        progress(page.len() as u64);
    }
}
