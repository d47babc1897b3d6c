//! `usher ssh-config`: makes plain `ssh`, `scp`, `rsync`, `git` and Ansible work. One file of ours, and one `Include`
//! line at the top of the user's own configuration; everything else there stays byte for byte.

use std::path::{Path, PathBuf};

use crate::{
    cli::Context, cli::environment::Environment, config::Config, exit::Failure, files, output, spawn,
    ssh::Setting,
};

/// Written into our file when the user had no configuration before: `remove` then leaves none.
const CREATED: &str = "# ~/.ssh/config was made for this.\n";

/// What to do with the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum SshConfigCommand {
    /// Add one Include line to ~/.ssh/config
    Install,
    /// Show what would be included
    Print,
    /// Take the Include line out again
    Remove,
}

/// Runs one of the commands.
///
/// # Errors
/// When files cannot be read or written.
pub fn run(context: &Context, command: SshConfigCommand) -> Result<(), Failure> {
    let environment = &context.environment;
    match command {
        SshConfigCommand::Install => {
            install(environment, &context.config)?;
            output::note(&format!(
                "plain `ssh` now knows your servers ({})",
                environment.ssh_config().display()
            ));
            Ok(())
        }
        SshConfigCommand::Print => output::print(&render(environment, &context.config)?),
        SshConfigCommand::Remove => {
            if !remove(environment)? {
                output::note("nothing was installed");
            }
            Ok(())
        }
    }
}

/// The text of our file.
///
/// # Errors
/// When a path cannot be written into it.
pub fn render(environment: &Environment, config: &Config) -> Result<String, Failure> {
    let setting = Setting::new(&spawn::own_path()?, &environment.runtime)?;
    Ok(text(&setting, config))
}

fn text(setting: &Setting, config: &Config) -> String {
    let mut text = String::from("# Written by `usher ssh-config install`; written again at sign-in.\n");
    for (slug, team) in &config.teams {
        // The quote is the one character that would end the quoting in the commands below.
        text.push_str(&format!("Match host \"*.{slug}.usher,!*'*\" !user \"*'*\"\n"));
        block(&mut text, setting, team.login.as_ref());
    }
    let resolve = format!("'{}' resolve -q '%h'", setting.binary());
    text.push_str(&format!("Match host \"!*.*,!*'*,*\" !user \"*'*\" exec \"{resolve}\"\n"));
    let current = config.current_team.as_ref().and_then(|slug| config.teams.get(slug));
    block(&mut text, setting, current.and_then(|team| team.login.as_ref()));
    text
}

fn block(text: &mut String, setting: &Setting, login: Option<&usher_types::LoginName>) {
    if let Some(login) = login {
        text.push_str(&format!("    User {login}\n"));
    }
    for (name, value) in setting.options() {
        text.push_str(&format!("    {name} {value}\n"));
    }
    text.push_str(&format!("    ProxyCommand {}\n", setting.proxy_command()));
}

fn include_line(environment: &Environment) -> Result<String, Failure> {
    let path = environment.ssh_config();
    // Our directory went through the same check as the sockets' when the text was rendered.
    let path =
        path.to_str().filter(|text| !text.contains(|c: char| c.is_control() || "\"'\\$*?[]".contains(c)));
    path.map(|path| format!("Include \"{path}\"\n")).ok_or_else(|| {
        Failure::other("the path of the configuration cannot be written into an ssh configuration")
    })
}

/// Writes our file and the `Include` line. Done twice, it changes nothing.
///
/// # Errors
/// When files cannot be read or written.
pub fn install(environment: &Environment, config: &Config) -> Result<(), Failure> {
    let text = render(environment, config)?;
    let line = include_line(environment)?;
    let user = followed(&environment.user_ssh_config());
    let before = files::read(&user)?;
    let ours = environment.ssh_config();
    let created =
        before.is_none() || files::read(&ours)?.is_some_and(|bytes| bytes.ends_with(CREATED.as_bytes()));
    let text = if created { format!("{text}{CREATED}") } else { text };
    files::write_atomically(&ours, text.as_bytes(), files::PUBLIC)?;
    let before = before.unwrap_or_default();
    if before.starts_with(line.as_bytes()) {
        return Ok(());
    }
    let mut after = line.clone().into_bytes();
    after.extend(without_line(&before, line.as_bytes()));
    write_user_config(&user, &after)
}

/// Takes the `Include` line and our file away; false when there was nothing.
///
/// # Errors
/// When files cannot be read or written.
pub fn remove(environment: &Environment) -> Result<bool, Failure> {
    let line = include_line(environment)?;
    let user = followed(&environment.user_ssh_config());
    let ours = environment.ssh_config();
    let text = files::read(&ours)?;
    let before = files::read(&user)?;
    let mut changed = text.is_some();
    if let Some(before) = before {
        let after = without_line(&before, line.as_bytes());
        let created = text.as_ref().is_some_and(|text| text.ends_with(CREATED.as_bytes()));
        if after.is_empty() && created {
            std::fs::remove_file(&user)
                .map_err(|error| Failure::io(format_args!("cannot remove `{}`", user.display()), &error))?;
            changed = true;
        } else if after != before {
            write_user_config(&user, &after)?;
            changed = true;
        }
    }
    if text.is_some() {
        std::fs::remove_file(&ours)
            .map_err(|error| Failure::io(format_args!("cannot remove `{}`", ours.display()), &error))?;
    }
    Ok(changed)
}

/// Writes our file again when it is installed: teams or logins changed.
///
/// # Errors
/// As [`install`].
pub fn refresh(environment: &Environment, config: &Config) -> Result<(), Failure> {
    if environment.ssh_config().exists() { install(environment, config) } else { Ok(()) }
}

/// Whether our line is the first of the user's configuration.
///
/// # Errors
/// When it cannot be read.
pub fn is_first(environment: &Environment) -> Result<bool, Failure> {
    let line = include_line(environment)?;
    Ok(files::read(&environment.user_ssh_config())?.is_some_and(|bytes| bytes.starts_with(line.as_bytes())))
}

fn without_line(bytes: &[u8], line: &[u8]) -> Vec<u8> {
    let bare = line.strip_suffix(b"\n").unwrap_or(line);
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|other| *other != line && *other != bare)
        .flatten()
        .copied()
        .collect()
}

/// Where a link leads: dotfile collections link to the real file, which is the one to change.
fn followed(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn write_user_config(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(directory) = path.parent() {
        files::make_directory(directory, 0o700)?;
    }
    let mode = path.metadata().map_or(files::PRIVATE, |metadata| metadata.permissions().mode() & 0o777);
    files::write_atomically(path, bytes, mode)
}
