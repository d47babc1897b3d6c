//! First half of issuing: from an [`Authorization`] to the bytes that are to be signed. No key is touched here.

use rand_core::CryptoRng;
use thiserror::Error;
use usher_types::{KeyId, Period, Principal, UnixTime, ValidityWindow};

use crate::{
    Authorization, CaPublicKey, HostAuthorization, HostCertificate, Serial, SubjectKey,
    profile::{PERMIT_PORT_FORWARDING, PERMIT_PTY, SOURCE_ADDRESS},
    wire::Writer,
};

/// The only certificates made here are for Ed25519 keys.
pub(crate) const CERTIFICATE_TYPE: &str = "ssh-ed25519-cert-v01@openssh.com";

const CLIENT_ADDRESS: &str = "client-address@usher.internal";
const DEVICE: &str = "device@usher.internal";
const USER: &str = "user@usher.internal";

/// `SSH2_CERT_TYPE_USER` (draft-miller-ssh-cert section 2.1).
const USER_CERTIFICATE: u32 = 1;
/// `SSH2_CERT_TYPE_HOST`.
const HOST_CERTIFICATE: u32 = 2;

/// Names and values, sorted by name, each name once.
pub(crate) type Options = Vec<(&'static str, String)>;

/// What a certificate is going to say. Kept until the end, to be compared with what it says.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) kind: u32,
    pub(crate) critical_options: Options,
    pub(crate) extensions: Options,
    pub(crate) key_id: String,
    pub(crate) nonce: [u8; 32],
    pub(crate) principals: Vec<String>,
    pub(crate) serial: Serial,
    pub(crate) subject: SubjectKey,
    pub(crate) period: Period,
}

impl Profile {
    pub(crate) fn is_user(&self) -> bool {
        self.kind == USER_CERTIFICATE
    }
}

/// A complete certificate but for its signature. Cannot be cloned: one authorization, one certificate.
///
/// Sign [`ToBeSigned::bytes`] wherever the key lives and hand the signature to [`ToBeSigned::seal`].
#[derive(Debug)]
#[must_use = "a prepared certificate is nothing until it is sealed"]
pub struct ToBeSigned {
    pub(crate) unsigned: Unsigned,
    pub(crate) key_id: KeyId,
    pub(crate) principal: Principal,
    pub(crate) window: ValidityWindow,
}

/// A complete host certificate but for its signature, otherwise like [`ToBeSigned`].
#[derive(Debug)]
#[must_use = "a prepared certificate is nothing until it is sealed"]
pub struct HostToBeSigned(pub(crate) Unsigned);

/// What both kinds have.
#[derive(Debug)]
pub(crate) struct Unsigned {
    pub(crate) authority: CaPublicKey,
    pub(crate) bytes: Vec<u8>,
    pub(crate) profile: Profile,
}

/// Why nothing was prepared.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PrepareError {
    /// The authorization's window does not contain the present time.
    #[error("the authorization is not valid now")]
    NotValidNow,
    /// The certificate would reach [`ToBeSigned::MAX`] bytes.
    #[error("the certificate would be too large to sign")]
    TooLarge,
    /// The certificate would live longer than one of its kind may.
    #[error("the certificate would live too long")]
    TooLong,
}

impl ToBeSigned {
    /// Key management services sign messages below this size only.
    pub const MAX: usize = 4096;

    /// What the certificate authority signs.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.unsigned.bytes
    }

    /// The certificate's serial, known before it is signed.
    #[must_use]
    pub fn serial(&self) -> Serial {
        self.unsigned.profile.serial
    }
}

impl HostToBeSigned {
    /// What the certificate authority signs.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The certificate's serial, known before it is signed.
    #[must_use]
    pub fn serial(&self) -> Serial {
        self.0.profile.serial
    }
}

/// Lays out a user certificate for `subject`, to be signed by `authority`. Consumes the authorization.
///
/// # Errors
/// [`PrepareError`].
#[expect(clippy::needless_pass_by_value, reason = "an authorization is good for one certificate")]
pub fn prepare(
    authorization: impl Authorization,
    subject: &SubjectKey,
    authority: &CaPublicKey,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<ToBeSigned, PrepareError> {
    let window = authorization.window();
    if !window.contains(now) {
        return Err(PrepareError::NotValidNow);
    }
    let (nonce, serial) = random(rng);
    let (key_id, principal) = (authorization.key_id(), authorization.principal());
    let profile = Profile {
        kind: USER_CERTIFICATE,
        critical_options: critical_options(&authorization),
        extensions: extensions(&authorization),
        key_id: key_id.as_str().to_owned(),
        nonce,
        principals: vec![principal.to_string()],
        serial,
        subject: *subject,
        period: *window,
    };
    Ok(ToBeSigned { unsigned: lay_out(profile, authority)?, key_id, principal, window })
}

/// Lays out a host certificate for `subject`, to be signed by `authority`. Consumes the authorization.
///
/// # Errors
/// [`PrepareError`].
#[expect(clippy::needless_pass_by_value, reason = "an authorization is good for one certificate")]
pub fn prepare_host(
    authorization: impl HostAuthorization,
    subject: &SubjectKey,
    authority: &CaPublicKey,
    now: UnixTime,
    rng: &mut impl CryptoRng,
) -> Result<HostToBeSigned, PrepareError> {
    let period = authorization.period();
    if !period.contains(now) {
        return Err(PrepareError::NotValidNow);
    }
    if period.length() > HostCertificate::MAX {
        return Err(PrepareError::TooLong);
    }
    let (nonce, serial) = random(rng);
    let profile = Profile {
        kind: HOST_CERTIFICATE,
        critical_options: Options::new(),
        extensions: Options::new(),
        key_id: authorization.key_id().to_string(),
        nonce,
        principals: authorization.principals().iter().map(ToString::to_string).collect(),
        serial,
        subject: *subject,
        period,
    };
    lay_out(profile, authority).map(HostToBeSigned)
}

fn lay_out(profile: Profile, authority: &CaPublicKey) -> Result<Unsigned, PrepareError> {
    let bytes = encode(&profile, authority);
    if bytes.len() >= ToBeSigned::MAX {
        return Err(PrepareError::TooLarge);
    }
    Ok(Unsigned { authority: *authority, bytes, profile })
}

/// Nonce and serial from one draw: with the system's source, each draw is a system call.
fn random(rng: &mut impl CryptoRng) -> ([u8; 32], Serial) {
    loop {
        let (mut nonce, mut serial) = ([0; 32], [0; 8]);
        let mut drawn = [0; 40];
        rng.fill_bytes(&mut drawn);
        let (first, second) = drawn.split_at(nonce.len());
        nonce.copy_from_slice(first);
        serial.copy_from_slice(second);
        if let Some(serial) = Serial::new(u64::from_be_bytes(serial) >> 1) {
            return (nonce, serial);
        }
    }
}

fn critical_options(authorization: &impl Authorization) -> Options {
    let source = authorization.source_addresses().option_value();
    source.map(|value| (SOURCE_ADDRESS, value)).into_iter().collect()
}

/// In lexical order, which the format demands.
fn extensions(authorization: &impl Authorization) -> Options {
    let mut extensions = Vec::with_capacity(5);
    if let Some(address) = authorization.client_address() {
        extensions.push((CLIENT_ADDRESS, address.to_canonical().to_string()));
    }
    extensions.push((DEVICE, authorization.device_id().to_string()));
    if authorization.permit_port_forwarding() {
        extensions.push((PERMIT_PORT_FORWARDING, String::new()));
    }
    if authorization.permit_pty() {
        extensions.push((PERMIT_PTY, String::new()));
    }
    extensions.push((USER, authorization.user_id().to_string()));
    extensions
}

/// draft-miller-ssh-cert section 2: everything before the signature.
fn encode(profile: &Profile, authority: &CaPublicKey) -> Vec<u8> {
    let mut writer = Writer::with_capacity(1024);
    writer.string(CERTIFICATE_TYPE.as_bytes());
    writer.string(&profile.nonce);
    writer.string(profile.subject.as_bytes());
    writer.u64(profile.serial.get());
    writer.u32(profile.kind);
    writer.string(profile.key_id.as_bytes());
    writer.nested(|writer| profile.principals.iter().for_each(|name| writer.string(name.as_bytes())));
    writer.u64(seconds(profile.period.valid_after()));
    writer.u64(seconds(profile.period.valid_before()));
    options(&mut writer, &profile.critical_options);
    options(&mut writer, &profile.extensions);
    writer.string(b""); // reserved
    writer.string(&authority.to_blob());
    writer.finish()
}

/// Each value is a string inside a string; an empty value is an empty outer string.
fn options(writer: &mut Writer, options: &Options) {
    writer.nested(|writer| {
        for (name, value) in options {
            writer.string(name.as_bytes());
            writer.nested(|writer| {
                if !value.is_empty() {
                    writer.string(value.as_bytes());
                }
            });
        }
    });
}

/// INVARIANT: a [`Period`] begins after 1970.
pub(crate) fn seconds(time: UnixTime) -> u64 {
    u64::try_from(time.as_secs()).unwrap_or_default()
}
