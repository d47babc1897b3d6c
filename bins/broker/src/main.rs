//! Entry point; everything lives in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    usher_broker::cli::run()
}
