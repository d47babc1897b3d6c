//! Entry point; everything lives in the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    usher::run(&std::env::args_os().collect::<Vec<_>>())
}
