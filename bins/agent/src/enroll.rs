//! `usher-agent enroll`: makes the service user and the key, redeems the token, keeps what came back.
//!
//! May be repeated at any point: the key stays, so a broker that saw it within ten minutes gives the same answer again.

use std::{
    io::Read as _,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use usher_account_lifecycle::state::StateKey;
use usher_api::v1::{EnrollRequest, EnrollResponse};
use usher_enrollment::PastedToken;
use usher_host::{RootStore, ServiceUser};
use usher_identity::PrivateKey;
use usher_types::HostName;
use zeroize::Zeroizing;

use crate::{
    clock,
    config::Config,
    engine::host_facts,
    enrollment::{self, Enrollment},
    exit::{Exit, Failure},
    helper::{require_root, start_network},
    message::{self, Enrolled, Job},
    output::{self, Format},
    places,
};

/// Longer than any token.
const MAX_TOKEN: u64 = 8 * 1024;
/// The client gives up earlier.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What was asked for.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// File with the enrollment token, `-` for standard input
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Name to ask for; the host's own name unless given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Address to report instead of the host's own; may be given more than once, most useful first
    #[arg(long, value_name = "IP")]
    address: Vec<IpAddr>,
    /// Give up the present enrollment and become a new server
    #[arg(long)]
    force_new: bool,
}

pub(crate) fn run(arguments: &Arguments, config: &Config, format: Format) -> Result<(), Failure> {
    require_root("enroll")?;
    let token = read_token(&arguments.token_file)?;
    let name = host_name(arguments.name.as_deref())?;
    enrollment::directory()?;
    // Held until the end: no agent may run meanwhile.
    let store = RootStore::open(Path::new(places::ROOT))?;
    if let Some(existing) = Enrollment::find()? {
        if !arguments.force_new {
            let message = format!(
                "this host is enrolled already, as `{}` in project `{}`",
                existing.name, existing.project
            );
            return Err(Failure::other(message).next(
                "nothing to do; or `--force-new` to become a new server: accounts of the present project will then be removed",
            ));
        }
        Enrollment::forget()?;
        store.remove(places::SIGNED_STATE)?;
    }
    let user = ServiceUser::ensure(places::STATE_PATH)?;
    ensure_key(user)?;
    let given = if arguments.address.is_empty() { &config.addresses } else { &arguments.address };
    let facts = host_facts(given)?;
    if facts.addresses.is_empty() {
        return Err(Failure::other("sshd listens on no address that other hosts could reach")
            .next("check ListenAddress in sshd_config, or give the address with --address"));
    }
    let request = EnrollRequest { token: token.token().reveal().to_string(), name, facts };
    let job = Job::Enroll { url: token.url().to_owned(), pin: token.pin(), request: Box::new(request) };
    let enrolled = redeem(user, &job)?;
    let record = record(&token, enrolled, arguments.address.clone())?;
    record.save()?;
    show(&record, format)
}

fn read_token(path: &Path) -> Result<PastedToken, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_TOKEN).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_TOKEN).read_to_string(&mut text))
    };
    read.map_err(|error| {
        Failure::usage(format!("the token cannot be read from `{}`: {error}", path.display()))
    })?;
    PastedToken::parse(&text).map_err(|error| {
        Failure::new(Exit::Usage, error.to_string())
            .next("copy the whole line that `usher token create` printed")
    })
}

fn host_name(asked: Option<&str>) -> Result<HostName, Failure> {
    let own = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let text = asked.map_or_else(own, str::to_owned).trim().to_ascii_lowercase();
    text.parse().map_err(|error: usher_types::NameError| {
        Failure::new(Exit::Usage, error.to_string()).next("give a name with --name")
    })
}

/// Makes the agent's key unless there is one. It is the network process's own: root does not need it.
fn ensure_key(user: ServiceUser) -> Result<(), Failure> {
    let directory = enrollment::directory()?;
    let path = directory.path().join(places::KEY);
    match std::fs::symlink_metadata(&path) {
        Ok(metadata) => {
            let sound = metadata.is_file() && metadata.uid() == user.uid && metadata.mode() & 0o7777 == 0o600;
            if sound {
                return Ok(());
            }
            let message =
                format!("`{}` is not a file of `{}` with mode 0600", path.display(), ServiceUser::NAME);
            return Err(Failure::other(message).next("look at it, and remove it to get a new key"));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::because("the agent's key cannot be looked at", &error)),
    }
    let key = PrivateKey::generate(&mut rand_core::UnwrapErr(getrandom::SysRng));
    let pem =
        key.to_pkcs8_pem().map_err(|error| Failure::because("the agent's key cannot be made", &error))?;
    Ok(directory.write(places::KEY, pem.as_bytes(), 0o600, (user.uid, user.gid))?)
}

/// Lets an unprivileged process do the talking: root never parses what comes from the network.
fn redeem(user: ServiceUser, job: &Job) -> Result<EnrollResponse, Failure> {
    let fail = |error: &std::io::Error| Failure::because("the network process did not answer", error);
    let (mut stream, _process) = start_network(user, job)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(|error| fail(&error))?;
    match message::read(&mut stream).map_err(|error| fail(&error))? {
        Enrolled::Done(answer) => Ok(*answer),
        Enrolled::Failed(failure) => Err(failure),
    }
}

fn record(
    token: &PastedToken,
    enrolled: EnrollResponse,
    addresses: Vec<IpAddr>,
) -> Result<Enrollment, Failure> {
    let keys: Result<Vec<StateKey>, _> = enrolled.state_keys.iter().map(|key| key.parse()).collect();
    let state_keys = keys.map_err(|error| Failure::because("the broker's state key", &error))?;
    if state_keys.is_empty() {
        return Err(Failure::other("the broker named no key that signs state"));
    }
    Ok(Enrollment {
        v: 1,
        url: token.url().to_owned(),
        pin: token.pin(),
        server_id: enrolled.server_id,
        name: enrolled.name,
        project: enrolled.project,
        team: enrolled.team,
        state_keys,
        addresses,
        enrolled_at: clock::now(),
    })
}

fn show(record: &Enrollment, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::json(record),
        Format::Text => {
            output::print(&format!(
                "enrolled as {} in project {} of team {}\n",
                record.name, record.project, record.team
            ))?;
            output::note("next: start the agent: systemctl enable --now usher-agent (or `usher-agent run`)");
            Ok(())
        }
    }
}
