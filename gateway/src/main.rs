//! `rookery`: reads the settings, starts a node, and leaves in good order when asked to.

use anyhow::Context;
use clap::{Parser, Subcommand};
use gateway::{
    config::{Config, LogFormat, Settings, layers, show},
    plan,
};
use std::{io::IsTerminal, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{EnvFilter, fmt};

/// A real-time chess server: one binary on a laptop, a cluster for millions.
#[derive(Parser)]
#[command(name = "rookery", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a gateway.
    Serve {
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Print the settings in effect and where each comes from, as TOML; secrets are hidden.
    #[command(name = "config")]
    ShowConfig {
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Work out what it takes to show one room to so many.
    Plan {
        #[command(flatten)]
        ask: plan::Ask,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve { settings } => run(settings.config),
        Command::ShowConfig { settings } => print_config(&settings),
        Command::Plan { ask } => {
            print!("{}", plan::plan(ask));
            ExitCode::SUCCESS
        }
    }
}

/// Exit code 2, as for a flag that clap refuses: the settings are wrong, and starting again will not help.
const WRONG_SETTINGS: u8 = 2;

fn print_config(settings: &Settings) -> ExitCode {
    print!("{}", show::toml(settings));
    for mistake in settings.config.mistakes() {
        eprintln!("rookery: {mistake}");
    }
    match settings.config.mistakes().is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(WRONG_SETTINGS),
    }
}

fn run(config: Config) -> ExitCode {
    if let Err(error) = config.check() {
        eprintln!("rookery: {error}");
        return ExitCode::from(WRONG_SETTINGS);
    }
    init_logs(config.log_format);
    for (name, near) in layers::strays() {
        tracing::warn!("{name} is no setting; did you mean {near}?");
    }
    // rustls asks for its cryptography to be named; needed by rediss:// URLs.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rookery: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rookery: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(mut config: Config) -> anyhow::Result<()> {
    let mut terminate =
        signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
    config.fit_to_open_files();
    let mode = if config.redis_url.is_empty() {
        "embedded"
    } else {
        "cluster"
    };
    let running = gateway::start(config, None).await?;
    println!("listening http={} admin={}", running.http, running.admin);
    tracing::info!(
        node = running.node.name,
        mode,
        "ready: http://{}",
        running.http
    );
    let mut asked = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let is_asked = tokio::select! {
        () = asked() => true,
        // The admin port asked for it.
        () = running.node.stopped.cancelled() => false,
    };
    let asked_twice = async {
        if !is_asked {
            asked().await;
        }
        asked().await;
    };
    tokio::select! {
        () = running.stop() => Ok(()),
        () = asked_twice => anyhow::bail!("asked twice to stop: left before the drain was through"),
    }
}

fn init_logs(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let json = match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let logs = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        logs.json().flatten_event(true).init();
    } else {
        logs.init();
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_commands_fit_together() {
        super::Cli::command().debug_assert();
    }
}
