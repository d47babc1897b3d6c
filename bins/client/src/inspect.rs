//! `usher inspect`: what an OpenSSH certificate says, in full. Checks nothing: the words are the certificate's own.

use std::{io::Read as _, path::PathBuf};

use crate::{cli::Context, exit::Failure, output};

/// A certificate has at most a few kilobytes.
const MAX: u64 = 64 * 1024;

/// The command line of `usher inspect`.
#[derive(Clone, Debug, clap::Args)]
pub struct InspectCommand {
    /// File with an OpenSSH certificate; `-` for stdin
    #[arg(default_value = "-", value_name = "FILE")]
    pub file: PathBuf,
}

/// Shows the certificate.
///
/// # Errors
/// When it cannot be read or is none.
pub fn run(context: &Context, command: &InspectCommand) -> Result<(), Failure> {
    let mut text = String::new();
    let read = if command.file.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(&command.file).and_then(|file| file.take(MAX).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::io(format_args!("cannot read `{}`", command.file.display()), &error))?;
    let inspection = usher_ca::inspect(text.trim()).map_err(|error| Failure::other(error.to_string()))?;
    output::show(context.format, &inspection, ToString::to_string)
}
