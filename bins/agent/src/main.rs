//! Entry point; everything lives in the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    usher_agent::run(&std::env::args_os().collect::<Vec<_>>())
}
