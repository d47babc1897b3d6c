//! Where and as what this host is enrolled: a public record that only root writes.

use std::{net::IpAddr, path::Path};

use serde::{Deserialize, Serialize};
use usher_account_lifecycle::state::StateKey;
use usher_host::{SecureDirectory, StoredFile};
use usher_types::{HostName, ProjectSlug, ServerId, Sha256, TeamSlug, UnixTime};

use crate::{
    exit::{Exit, Failure},
    places,
};

const MODE: u32 = 0o644;

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enrollment {
    /// Format of this record.
    pub(crate) v: u32,
    /// The broker.
    pub(crate) url: String,
    /// The pin that came with the token.
    pub(crate) pin: Option<Sha256>,
    /// The server.
    pub(crate) server_id: ServerId,
    /// The name it got.
    pub(crate) name: HostName,
    /// Its project.
    pub(crate) project: ProjectSlug,
    /// Its team.
    pub(crate) team: TeamSlug,
    /// Keys that sign the first state.
    pub(crate) state_keys: Vec<StateKey>,
    /// Addresses to report, when they were given.
    pub(crate) addresses: Vec<IpAddr>,
    /// When.
    pub(crate) enrolled_at: UnixTime,
}

/// Opens the agent's state directory, which is made when it is missing.
pub(crate) fn directory() -> Result<SecureDirectory, Failure> {
    Ok(SecureDirectory::make(Path::new(places::VAR_LIB), places::STATE, 0o755)?)
}

impl Enrollment {
    /// Reads the record; `None` when this host is not enrolled.
    pub(crate) fn find() -> Result<Option<Self>, Failure> {
        if !Path::new(places::STATE_PATH).exists() {
            return Ok(None);
        }
        match SecureDirectory::open(places::STATE_PATH)?.read(places::ENROLLMENT, MODE)? {
            StoredFile::Absent => Ok(None),
            StoredFile::Clean(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Failure::because("the enrollment record cannot be read", &error)
                    .next("enroll again with `usher-agent enroll --force-new`")
            }),
            StoredFile::Dirty(reason) => {
                Err(Failure::other(format!("the enrollment record is not safe: {reason}")))
            }
        }
    }

    /// Reads the record, which must be there.
    pub(crate) fn load() -> Result<Self, Failure> {
        Self::find()?.ok_or_else(|| {
            Failure::new(Exit::NotFound, "this host is not enrolled").next(
                "make a token with `usher token create`, then run `usher-agent enroll --token-file FILE`",
            )
        })
    }

    /// Writes the record.
    pub(crate) fn save(&self) -> Result<(), Failure> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Failure::because("the enrollment record cannot be written", &error))?;
        Ok(directory()?.write(places::ENROLLMENT, &bytes, MODE, (0, 0))?)
    }

    /// Forgets where this host was enrolled, and the key that it was known by.
    pub(crate) fn forget() -> Result<(), Failure> {
        let directory = directory()?;
        directory.remove(places::ENROLLMENT)?;
        Ok(directory.remove(places::KEY)?)
    }
}
