//! Entry point; everything lives in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A tenth of what a request costs is asking for memory and giving it back.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    usher_broker::cli::run()
}
