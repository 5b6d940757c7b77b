//! `rookery`: reads the settings, starts a node, and leaves in good order when asked to.

use anyhow::Context;
use clap::{Parser, Subcommand};
use gateway::{
    command::{check, health, nodes, token},
    config::{Config, Settings, layers, show},
    plan,
};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

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
    /// Archive games without a gateway: takes them from Redis into the database.
    Archive {
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Write all finished games of the archive, oldest first.
    Export {
        #[command(flatten)]
        settings: Box<Settings>,
        /// As PGN, the one form there is.
        #[arg(long, required = true)]
        pgn: bool,
        /// File to write; standard output if left out.
        #[arg(long, short)]
        output: Option<std::path::PathBuf>,
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
    /// Look at the settings and the servers they name, and say in words what is wrong: exit code 0 if nothing, 1 for warnings,
    /// 2 for errors.
    Check {
        /// After so many seconds a process that was asked to leave is killed. 30 is what Kubernetes does.
        #[arg(long, default_value_t = 30)]
        grace_seconds: u64,
        /// For programs.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// List every node and what it says of itself.
    Nodes {
        /// For programs.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Ask the node on this machine whether it is ready: exit code 0 if so, 1 if not.
    Health {
        /// Ask only whether it is alive.
        #[arg(long)]
        live: bool,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Print a token for a user, signed with the settings' secret.
    Token {
        /// The user's id.
        #[arg(long, value_name = "ID")]
        user: String,
        /// The user's shown name. Default: the id.
        #[arg(long)]
        name: Option<String>,
        /// How long it is good, in seconds. Default: 30 days.
        #[arg(long, default_value_t = gateway::identity::TOKEN_TTL_SECONDS)]
        seconds: u64,
        #[command(flatten)]
        settings: Box<Settings>,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve { settings } => run(settings.config, serve),
        Command::Archive { settings } => run(settings.config, archive),
        Command::Export {
            settings, output, ..
        } => run(settings.config, async move |config| {
            gateway::export::pgn(&config, output.as_deref()).await
        }),
        Command::ShowConfig { settings } => print_config(&settings),
        Command::Plan { ask } => {
            print!("{}", plan::plan(ask));
            ExitCode::SUCCESS
        }
        Command::Check {
            grace_seconds,
            json,
            settings,
        } => within(async {
            let found = check::look(&settings, grace_seconds).await;
            match json {
                true => println!("{}", serde_json::to_string_pretty(&found)?),
                false => print!("{}", check::text(&found)),
            }
            Ok(ExitCode::from(check::exit_code(&found)))
        }),
        Command::Nodes { json, settings } => within(async {
            let reports = nodes::reports(&settings.config).await?;
            match json {
                true => println!("{}", serde_json::to_string_pretty(&reports)?),
                false => print!("{}", nodes::table(&reports)),
            }
            Ok(ExitCode::SUCCESS)
        }),
        Command::Health { live, settings } => within(async {
            println!(
                "{}",
                health::run(&settings.config, live)
                    .await
                    .map_err(anyhow::Error::msg)?
            );
            Ok(ExitCode::SUCCESS)
        }),
        Command::Token {
            user,
            name,
            seconds,
            settings,
        } => within(async {
            settings.config.check()?;
            println!(
                "{}",
                token::issue(&settings.config, &user, name.as_deref(), seconds)?
            );
            Ok(ExitCode::SUCCESS)
        }),
    }
}

/// Runs a command that is over soon.
fn within(command: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("rookery: {error:#}");
        ExitCode::FAILURE
    })
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

fn run(config: Config, command: impl AsyncFnOnce(Config) -> anyhow::Result<()>) -> ExitCode {
    if let Err(error) = config.check() {
        eprintln!("rookery: {error}");
        return ExitCode::from(WRONG_SETTINGS);
    }
    gateway::logs::begin(config.log_format);
    for (name, near) in layers::strays() {
        tracing::warn!("{name} is no setting; did you mean {near}?");
    }
    // rustls asks for its cryptography to be named; needed by rediss:// URLs.
    let _ = rustls::crypto::ring::default_provider().install_default();
    #[cfg(feature = "otel")]
    let _traces = match gateway::traces::begin() {
        Ok(traces) => traces,
        Err(error) => {
            eprintln!("rookery: {error:#}");
            return ExitCode::from(WRONG_SETTINGS);
        }
    };
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
    match runtime.block_on(command(config)) {
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
    tracing::info!(mode, "ready: http://{}", running.http);
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

async fn archive(config: Config) -> anyhow::Result<()> {
    let mut terminate =
        signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
    let stop = tokio_util::sync::CancellationToken::new();
    let archiving = gateway::archive::run_alone(&config, stop.clone());
    tokio::pin!(archiving);
    tokio::select! {
        ended = &mut archiving => return ended,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cancel();
    archiving.await
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_commands_fit_together() {
        super::Cli::command().debug_assert();
    }
}
