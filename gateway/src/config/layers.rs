//! Flag, else environment, else file, else default: where the value of each setting comes from.
//!
//! clap reads flags and environment and says which it was. What the file says becomes the default of a second reading, so that
//! it is checked by the same rules, and a new setting needs nothing here.

use super::{Config, file};
use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, builder::Resettable,
    error::ErrorKind, parser::ValueSource,
};
use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
};

/// The settings in effect, and where each comes from. Flattened into a clap command it is that command's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The settings.
    pub config: Config,
    /// One for each, in the order of [`Config`].
    pub values: Vec<Effective>,
}

/// One setting as it came out.
#[derive(Clone)]
pub struct Effective {
    /// Its flag without the dashes.
    pub name: String,
    /// As a flag would have it; empty if it is not set.
    pub words: Vec<String>,
    /// Whether several may be given.
    pub is_list: bool,
    /// Whether it must not be shown.
    pub is_secret: bool,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value comes from. The later beats the earlier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The file of settings.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Environment(name) => f.write_str(name),
            Origin::Flag(name) => f.write_str(name),
        }
    }
}

impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The words may be a secret.
        write!(f, "{} ({})", self.name, self.origin)
    }
}

/// Every setting, as clap knows it.
pub(super) fn args() -> Vec<Arg> {
    let command = Config::augment_args(Command::new("rookery"));
    command.get_arguments().cloned().collect()
}

pub(super) fn is_secret(arg: &Arg) -> bool {
    arg.is_hide_env_values_set()
}

pub(super) fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

pub(super) fn env_of(arg: &Arg) -> Option<&str> {
    arg.get_env().and_then(OsStr::to_str)
}

/// The twin of a secret: the file that holds it.
pub(super) fn file_arg(secret: &Arg) -> Arg {
    let name = format!("{}-file", file::name(secret));
    let arg = Arg::new(name.clone())
        .long(name)
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help(format!("File that holds --{}.", file::name(secret)));
    match env_of(secret) {
        Some(env) => arg.env(format!("{env}_FILE")),
        None => arg,
    }
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let mut command = Config::augment_args(command);
        for arg in args() {
            if is_secret(&arg) {
                command = command.arg(file_arg(&arg));
            }
        }
        // `ROOKERY_X=` in a compose file means that X is not set, not that it is the empty text.
        command.mut_args(|arg| {
            let empty = env_of(&arg)
                .and_then(std::env::var_os)
                .is_some_and(|value| value.is_empty());
            if empty {
                arg.env(Resettable::Reset)
            } else {
                arg
            }
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Settings, clap::Error> {
        resolve(matches)
            .map_err(|why| clap::Error::raw(ErrorKind::ValueValidation, format!("{why}\n")))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Settings {
    /// The settings of these flags of `rookery serve`, with the environment and the file they name.
    pub fn parse<I, T>(flags: I) -> Result<Settings, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
        let command = Settings::augment_args(Command::new("rookery")).no_binary_name(true);
        Settings::from_arg_matches(&command.try_get_matches_from(flags)?)
    }
}

fn resolve(matches: &ArgMatches) -> Result<Settings, String> {
    let args = args();
    let path = matches.get_one::<PathBuf>("config");
    let in_file = match path {
        Some(path) => file::read(path, &names_in_file(&args))?,
        None => file::Values::default(),
    };
    let given = Given {
        matches,
        in_file,
        path: path.cloned(),
    };
    let mut command = Command::new("rookery").no_binary_name(true);
    let mut values = Vec::new();
    let ids: Vec<_> = args.iter().map(|arg| arg.get_id().clone()).collect();
    for arg in args {
        let value = effective(&arg, &given)?;
        let mut arg = arg.env(Resettable::Reset);
        if value.origin != Origin::Default {
            arg = arg.default_values(value.words.clone());
        }
        if matches!(value.origin, Origin::File(_)) {
            check_alone(&arg, &value)?;
        }
        command = command.arg(arg);
        values.push(value);
    }
    let matches = command
        .try_get_matches_from(std::iter::empty::<&str>())
        .map_err(|error| words_of(&error))?;
    // A default is told by clap, which knows how to write it.
    for (value, id) in values.iter_mut().zip(&ids) {
        if value.origin == Origin::Default {
            value.words = raw(&matches, id.as_str());
        }
    }
    let config = Config::from_arg_matches(&matches).map_err(|error| words_of(&error))?;
    Ok(Settings { config, values })
}

/// What a file of settings may hold: every setting but the name of the file itself, and the files of the secrets.
fn names_in_file(args: &[Arg]) -> Vec<String> {
    let names = args
        .iter()
        .filter(|arg| arg.get_id() != "config")
        .map(|arg| file::name(arg).to_owned());
    let files = args
        .iter()
        .filter(|arg| is_secret(arg))
        .map(|arg| format!("{}-file", file::name(arg)));
    names.chain(files).collect()
}

/// All that was said by anybody.
struct Given<'a> {
    matches: &'a ArgMatches,
    in_file: file::Values,
    path: Option<PathBuf>,
}

impl Given<'_> {
    /// What was said under that name, and by whom.
    fn find(&self, id: &str, name: &str, env: Option<&str>) -> Option<(Origin, Vec<String>)> {
        let origin = match self.matches.value_source(id) {
            Some(ValueSource::CommandLine) => Origin::Flag(format!("--{name}")),
            Some(ValueSource::EnvVariable) => {
                Origin::Environment(env.unwrap_or_default().to_owned())
            }
            _ => {
                let words = self.in_file.get(name)?;
                return Some((Origin::File(self.path.clone()?), words.clone()));
            }
        };
        Some((origin, raw(self.matches, id)))
    }
}

fn effective(arg: &Arg, given: &Given<'_>) -> Result<Effective, String> {
    let name = file::name(arg).to_owned();
    let env = env_of(arg).map(str::to_owned);
    let mut found = given.find(arg.get_id().as_str(), &name, env.as_deref());
    if is_secret(arg) {
        let twin = format!("{name}-file");
        let env = env.map(|env| format!("{env}_FILE"));
        if let Some((origin, words)) = given.find(&twin, &twin, env.as_deref()) {
            let (own, theirs) = (
                found.as_ref().map(|(origin, _)| rank(origin)),
                rank(&origin),
            );
            if own == Some(theirs) {
                return Err(format!("--{name} and --{twin} are both set: one is enough"));
            }
            if own.is_none_or(|own| own < theirs) {
                let path = words.into_iter().next().unwrap_or_default();
                let words = read_secret(Path::new(&path), is_list(arg))
                    .map_err(|why| format!("{origin}: {path} {why}"))?;
                found = Some((origin, words));
            }
        }
    }
    let (origin, words) = found.unwrap_or((Origin::Default, Vec::new()));
    Ok(Effective {
        name,
        words,
        is_list: is_list(arg),
        is_secret: is_secret(arg),
        origin,
    })
}

fn rank(origin: &Origin) -> u8 {
    match origin {
        Origin::Default => 0,
        Origin::File(_) => 1,
        Origin::Environment(_) => 2,
        Origin::Flag(_) => 3,
    }
}

/// A secret as a file holds it: without the white space around it; of a list, one a line.
fn read_secret(path: &Path, is_list: bool) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    let lines: Vec<String> = match is_list {
        true => text
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect(),
        false => Some(text.trim().to_owned())
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect(),
    };
    if lines.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(lines)
}

fn raw(matches: &ArgMatches, id: &str) -> Vec<String> {
    let words = matches.get_raw(id);
    words
        .into_iter()
        .flatten()
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// Whether a value is one that this setting can have, told with where it stands.
fn check_alone(arg: &Arg, value: &Effective) -> Result<(), String> {
    if value.words.len() > 1 && !value.is_list {
        return Err(format!(
            "{}: `{}` is a list, and takes one value",
            value.origin, value.name
        ));
    }
    let command = Command::new("rookery")
        .no_binary_name(true)
        .arg(arg.clone());
    match command.try_get_matches_from(std::iter::empty::<&str>()) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{}: {}", value.origin, words_of(&error))),
    }
}

/// clap's words without its frame.
fn words_of(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    text.split("\n\n")
        .next()
        .unwrap_or(text)
        .trim_end()
        .to_owned()
}

/// Variables of the environment that look like a setting misspelled, each with what was probably meant.
pub fn strays() -> Vec<(String, String)> {
    let args = args();
    let mut names: Vec<String> = args.iter().filter_map(env_of).map(str::to_owned).collect();
    let files: Vec<String> = args
        .iter()
        .filter(|arg| is_secret(arg))
        .filter_map(env_of)
        .map(|env| format!("{env}_FILE"))
        .collect();
    names.extend(files);
    let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    set.filter(|name| name.starts_with("ROOKERY_") && !names.contains(name))
        // An orchestrator sets variables for a service of this name (ROOKERY_PORT, ROOKERY_SERVICE_HOST): only near misses are told.
        .filter_map(|name| {
            let close = |near: &&str| strsim::levenshtein(&name, near) <= 2;
            let near = file::nearest(&name, &names).filter(close)?.to_owned();
            Some((name, near))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("a disk");
        file
    }

    fn with(flags: &[&str], text: &str) -> Result<Settings, String> {
        let file = file(text);
        let path = file.path().to_string_lossy().into_owned();
        let mut all = vec!["--config", &path];
        all.extend(flags);
        Settings::parse(all).map_err(|error| error.to_string())
    }

    fn origin(settings: &Settings, name: &str) -> Origin {
        settings
            .values
            .iter()
            .find(|value| value.name == name)
            .expect("a setting")
            .origin
            .clone()
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_the_default() {
        let settings = with(
            &["--partitions", "8"],
            "partitions = 16\ndrain_seconds = 7\n",
        )
        .expect("settings");
        assert_eq!(
            (settings.config.partitions, settings.config.drain_seconds),
            (8, 7)
        );
        assert_eq!(settings.config.heartbeat_seconds, 30);
        assert_eq!(
            origin(&settings, "partitions"),
            Origin::Flag("--partitions".to_owned())
        );
        assert!(matches!(
            origin(&settings, "drain-seconds"),
            Origin::File(_)
        ));
        assert_eq!(origin(&settings, "heartbeat-seconds"), Origin::Default);
    }

    #[test]
    fn the_file_is_held_to_the_same_rules() {
        for (text, words) in [
            ("partitions = 70000", "'70000' for '--partitions"),
            ("redis-mode = \"ring\"", "single, sentinel, cluster"),
            ("listen = \"here\"", "'here' for '--listen"),
            (
                "listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]",
                "takes one value",
            ),
            ("config = \"other.toml\"", "`config` is no setting"),
        ] {
            let why = with(&[], text).expect_err(text);
            assert!(why.contains(words), "{text}: {why}");
        }
        // What a flag overrides does not count.
        with(&["--partitions", "8"], "partitions = \"many\"").expect("the flag counts");
    }

    #[test]
    fn secrets_come_from_files_too() {
        let secret = file("0123456789abcdef0123456789abcdef\n");
        let path = secret.path().to_string_lossy().into_owned();
        let settings = with(
            &["--token-secret-file", &path],
            "token-secret = \"from the file of settings\"",
        )
        .expect("settings");
        assert_eq!(
            settings.config.token_secret.first().map(String::as_str),
            Some("0123456789abcdef0123456789abcdef")
        );
        let settings = with(&[], &format!("admin-token-file = {path:?}")).expect("settings");
        assert_eq!(
            settings.config.admin_token.as_deref(),
            Some("0123456789abcdef0123456789abcdef")
        );
        let both =
            with(&["--admin-token", "a", "--admin-token-file", &path], "").expect_err("both");
        assert!(both.contains("both set"), "{both}");
        let none = with(&["--admin-token-file", "/nowhere"], "").expect_err("no file");
        assert!(
            none.contains("--admin-token-file: /nowhere cannot be read"),
            "{none}"
        );
        let empty = file(" \n");
        let none =
            with(&["--admin-token-file", &empty.path().to_string_lossy()], "").expect_err("empty");
        assert!(none.contains("is empty"), "{none}");
    }

    #[test]
    fn every_setting_can_stand_in_every_place() {
        for arg in args() {
            let name = file::name(&arg);
            let env = env_of(&arg).unwrap_or_else(|| panic!("--{name} has no variable"));
            let wanted = format!("ROOKERY_{}", name.replace('-', "_").to_uppercase());
            // A list's variable may be in the plural.
            assert!(
                env == wanted || env == format!("{wanted}S"),
                "--{name} has {env}"
            );
            assert!(arg.get_help().is_some(), "--{name} is not described");
            if matches!(arg.get_action(), ArgAction::SetTrue) {
                let text = format!("{name} = true");
                with(&[], &text).unwrap_or_else(|why| panic!("{text}: {why}"));
            }
        }
    }
}
