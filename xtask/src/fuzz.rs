//! Every fuzz target for a few seconds, on nightly: finds what stupid mistakes can be found, and that targets build.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::{out::say, process::Cmd, workspace};

/// cargo of the nightly toolchain, in the fuzz workspace. The pinned toolchain must not leak in through the environment.
fn nightly() -> Result<Cmd> {
    let dir = workspace::root()?.join("fuzz");
    let cargo = Cmd::new(["rustup", "run", "nightly", "cargo"]).dir(&dir);
    Ok(cargo.env("RUSTUP_TOOLCHAIN", "nightly").limit(Duration::from_secs(1800)))
}

fn prepare() -> Result<()> {
    if Cmd::new(["rustup", "run", "nightly", "rustc", "--version"]).output()?.status != 0 {
        say!("installing the nightly toolchain, which fuzzing needs");
        let install = ["rustup", "toolchain", "install", "nightly", "--profile", "minimal"];
        if Cmd::new(install).limit(Duration::from_secs(900)).status()? != 0 {
            bail!("no nightly toolchain can be had, and fuzzing needs one");
        }
    }
    if nightly()?.args(["fuzz", "--version"]).output()?.status != 0 {
        say!("installing cargo-fuzz");
        if nightly()?.args(["install", "--locked", "cargo-fuzz"]).status()? != 0 {
            bail!("cargo-fuzz cannot be installed");
        }
    }
    Ok(())
}

/// Runs each target for `seconds`.
///
/// # Errors
/// When there is no target, when one does not build, or when one finds something.
pub(crate) fn smoke(seconds: u32) -> Result<()> {
    let dir = workspace::root()?.join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&dir).with_context(|| format!("no fuzz targets in {}", dir.display()))?;
    let mut targets: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned)).collect();
    targets.sort();
    if targets.is_empty() {
        bail!("no fuzz targets");
    }
    prepare()?;
    // Apart, so that one sees it: the first build takes minutes.
    let target_dir = workspace::target_dir()?.join("fuzz");
    let build = ["fuzz", "build", "--sanitizer", "none", "--target-dir"];
    if nightly()?.args(build).arg(&target_dir).status()? != 0 {
        bail!("the fuzz targets do not build");
    }
    let mut failed = Vec::new();
    for target in &targets {
        std::fs::create_dir_all(dir.with_file_name("corpus").join(target))?;
        let dictionary = dir.with_file_name("dictionaries").join(format!("{target}.dict"));
        let dictionary = dictionary.exists().then(|| format!("-dict={}", dictionary.display()));
        let run = nightly()?
            // Without the address sanitizer: there is no unsafe code, and it doubles the time.
            .args(["fuzz", "run", "--sanitizer", "none", "--target-dir"])
            .arg(&target_dir)
            .args([target, &format!("corpus/{target}"), &format!("seeds/{target}")])
            .args(["--", &format!("-max_total_time={seconds}"), "-rss_limit_mb=2048", "-verbosity=0"])
            .args(dictionary);
        let output = run.output()?;
        say!("fuzz {target}: {} in {} ms", if output.status == 0 { "ok" } else { "FAILED" }, output.ms);
        if output.status != 0 {
            failed.push(output.to_string());
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n")) }
}
