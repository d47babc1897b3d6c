//! `usher login`: authorization code with PKCE (RFC 7636) in the system's browser and a loopback redirect (RFC 8252),
//! bound to the device key. The code goes to the background process, which exchanges it and keeps the token.

use std::{collections::BTreeSet, io::IsTerminal as _, process::Stdio, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use usher_api::v1::{DeviceState, Page, Server};
use usher_identity::pkce::CodeVerifier;
use usher_types::{DeviceName, HostName, TeamSlug};

use crate::{
    api::Api,
    cli::Context,
    config::{self, Config, Team},
    exit::{Exit, Failure},
    index, output, random, spawn,
    ssh_agent::{
        control::{Answer, Request, SignIn, SignedIn, unexpected},
        process,
    },
    ssh_config, workload,
};

pub mod loopback;

use loopback::{Loopback, Page as EndPage};

/// A sign-in page that nobody uses is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// The command line of `usher login`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LoginOptions {
    /// Only print the address of the sign-in page
    #[arg(long)]
    pub no_browser: bool,
    /// Sign in as a program, with what the environment holds; never ask a person
    #[arg(long)]
    pub workload: bool,
    /// What to call this device; its host name when absent
    #[arg(long, value_name = "NAME")]
    pub device_name: Option<DeviceName>,
}

/// Signs in to the current team.
///
/// # Errors
/// When there is no session in the end.
pub fn run(context: &Context, options: &LoginOptions) -> Result<(), Failure> {
    let team = context.team()?;
    let signed_in = match workload::session(context, &team)? {
        Some(signed_in) => {
            let (_, settings) = context.config.team(Some(team.as_str()))?;
            after_sign_in(context, &team, &device_name(options, settings)?, &signed_in)?;
            signed_in
        }
        None if options.workload => {
            return Err(Failure::new(
                Exit::LoginNeeded,
                "there is nothing that a program could sign in with",
            )
            .next("set USHER_API_KEY_FILE, or USHER_SERVICE_USER in a job that has an identity token"));
        }
        None => sign_in(context, &team, options, &BTreeSet::new())?,
    };
    output::show(
        context.format,
        &serde_json::json!({
            "team": team, "user": signed_in.user, "device": signed_in.device, "session": signed_in.session,
        }),
        |_| {
            format!(
                "signed in to `{team}` as `{}` until {}\n",
                signed_in.user.user_name, signed_in.session.expires_at
            )
        },
    )
}

/// Opens a session for `team`, with a sign-in that counts for `servers` where they want to be named.
///
/// # Errors
/// When there is none in the end.
pub fn sign_in(
    context: &Context,
    team: &TeamSlug,
    options: &LoginOptions,
    servers: &BTreeSet<HostName>,
) -> Result<SignedIn, Failure> {
    let (_, settings) = context.config.team(Some(team.as_str()))?;
    let device_name = device_name(options, settings)?;
    let key = config::device_public_key(&context.environment.config, settings)?;
    let mut agent = process::ensure(&context.environment)?;

    let verifier = CodeVerifier::new(random::bytes()?);
    let state = BASE64URL_NOPAD.encode(&random::bytes::<32>()?);
    let loopback = Loopback::bind()?;
    let mut address = settings.url.clone();
    address.set_path("/authorize");
    address
        .query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", "usher-cli")
        .append_pair("redirect_uri", loopback.redirect_uri())
        .append_pair("code_challenge", &verifier.challenge().to_string())
        .append_pair("code_challenge_method", "S256")
        .append_pair("state", &state)
        .append_pair("dpop_jkt", &key.thumbprint().to_string())
        .append_pair("device_name", device_name.as_str());
    if !servers.is_empty() {
        let names: Vec<&str> = servers.iter().map(HostName::as_str).collect();
        address.query_pairs_mut().append_pair("servers", &names.join(",")).append_pair("prompt", "login");
    }
    show_page(context, options, address.as_str());

    let (code, page) = loopback.wait(&state, &issuer(settings), PATIENCE)?;
    let sign_in = SignIn {
        code,
        code_verifier: verifier.reveal().to_owned(),
        redirect_uri: loopback.redirect_uri().to_owned(),
        device_name: device_name.clone(),
    };
    let answer = agent.ask(&Request::SignIn { team: team.clone(), sign_in });
    let signed_in = match answer {
        Ok(Answer::SignedIn(signed_in)) => *signed_in,
        Ok(_) => return Err(unexpected()),
        Err(failure) => {
            page.finish(EndPage::Failed);
            return Err(failure.context("the broker did not accept the sign-in"));
        }
    };
    page.finish(EndPage::SignedIn);
    after_sign_in(context, team, &device_name, &signed_in)?;
    Ok(signed_in)
}

/// Opens the page on which people of the broker's own directory look after what they sign in with.
///
/// # Errors
/// When there is no team.
pub fn account(context: &Context) -> Result<(), Failure> {
    let team = context.team()?;
    let (_, settings) = context.config.team(Some(team.as_str()))?;
    let mut address = settings.url.clone();
    address.set_path("/account");
    output::note(&format!("your account is at:\n  {address}"));
    open_browser(context, &LoginOptions::default(), address.as_str());
    Ok(())
}

/// The broker's public URL as it names itself (RFC 9207): no slash at the end.
fn issuer(team: &Team) -> String {
    team.url.as_str().trim_end_matches('/').to_owned()
}

fn show_page(context: &Context, options: &LoginOptions, address: &str) {
    output::note(&format!("sign in at:\n  {address}"));
    open_browser(context, options, address);
}

fn open_browser(context: &Context, options: &LoginOptions, address: &str) {
    let may_open = !options.no_browser
        && !context.no_input
        && context.environment.display
        && std::io::stderr().is_terminal();
    if !may_open {
        return;
    }
    if let Some(mut browser) = spawn::browser(&context.environment) {
        browser.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // The address is on the screen: without a browser it is opened by hand.
        let _ = browser.spawn();
    }
}

fn device_name(options: &LoginOptions, team: &Team) -> Result<DeviceName, Failure> {
    if let Some(name) = options.device_name.clone().or_else(|| team.device_name.clone()) {
        return Ok(name);
    }
    host_name().parse().map_err(|error| Failure::usage(format!("{error}")))
}

/// The host's name, as far as a device can have it.
#[must_use]
pub fn host_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let host = host.split('.').next().unwrap_or_default();
    let fit: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(48).collect();
    let fit = fit.trim_matches(|c| "-_".contains(c));
    if fit.is_empty() { "device".to_owned() } else { fit.to_owned() }
}

/// Remembers who signed in, and which servers there are. The session is there already: what fails here is said, and no
/// more.
fn after_sign_in(
    context: &Context,
    team: &TeamSlug,
    device_name: &DeviceName,
    signed_in: &SignedIn,
) -> Result<(), Failure> {
    let directory = &context.environment.config;
    let mut config = Config::load(directory)?;
    if let Some(settings) = config.teams.get_mut(team) {
        settings.device_name = Some(device_name.clone());
        settings.login = Some(signed_in.user.unix_user_name.clone());
    }
    config.save(directory)?;
    if let Err(failure) = ssh_config::refresh(&context.environment, &config) {
        output::note(&format!("the ssh configuration was not written: {failure}"));
    }
    match signed_in.device.state {
        DeviceState::Approved => {
            if let Err(failure) = refresh_names(context, team) {
                output::note(&format!("the list of servers was not fetched: {failure}"));
            }
        }
        DeviceState::Pending => output::note(&format!(
            "this device waits for approval\nnext: an administrator runs `usher device approve {}`",
            signed_in.device.id
        )),
        DeviceState::Revoked => {
            return Err(Failure::new(Exit::Denied, "this device was revoked"));
        }
    }
    Ok(())
}

/// Fetches the list of servers and writes the index of names.
///
/// # Errors
/// When it cannot be fetched or written.
pub fn refresh_names(context: &Context, team: &TeamSlug) -> Result<Page<Server>, Failure> {
    let servers: Page<Server> = Api::open(context, team)?.get("/v1/servers")?;
    index::keep(&context.environment.names(), team, &servers)?;
    Ok(servers)
}

/// Ends the session of the current team.
///
/// # Errors
/// When nobody is signed in, or the broker cannot be told.
pub fn sign_out(context: &Context) -> Result<(), Failure> {
    let team = context.team()?;
    let mut agent = process::running(&context.environment.runtime)?
        .ok_or_else(|| Failure::not_signed_in(team.as_str()))?;
    agent.ask(&Request::SignOut { team: team.clone() })?;
    output::note(&format!("signed out of `{team}`"));
    Ok(())
}
