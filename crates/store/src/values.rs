//! Closed sets of words in TEXT columns. Spelled as in the API, which this crate does not know.

use std::{fmt, str::FromStr};

use usher_identity::{DeviceState, UserStatus};

/// The words of a column whose type belongs to another crate.
pub(crate) trait Word: Sized + 'static {
    const WORDS: &'static [(Self, &'static str)];
}

impl Word for DeviceState {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Approved, "approved"), (Self::Pending, "pending"), (Self::Revoked, "revoked")];
}

impl Word for UserStatus {
    const WORDS: &'static [(Self, &'static str)] = &[(Self::Active, "active"), (Self::Disabled, "disabled")];
}

/// As in the database.
pub(crate) fn word<T: Word + PartialEq>(value: &T) -> &'static str {
    T::WORDS.iter().find(|(known, _)| known == value).map_or("", |(_, text)| text)
}

/// Text that is none of the words of a column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of the known words")]
pub struct ParseWordError;

/// OpenID Connect's own claim is the external id, unless a connector says otherwise.
impl Default for ExternalIdClaim {
    fn default() -> Self {
        Self::Sub
    }
}

impl serde::Serialize for ExternalIdClaim {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for ExternalIdClaim {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// As in the database.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ParseWordError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text { $($text => Ok(Self::$variant),)* _ => Err(ParseWordError) }
            }
        }
    )*};
}

words! {
    /// How members of an admin group use sudo.
    AdminSudo {
        /// Without being asked.
        Passwordless = "passwordless",
    }
    /// The CA's algorithm for SSH certificates.
    CertificateType {
        /// `ecdsa-sha2-nistp256`.
        EcdsaP256 = "ecdsa-p256",
        /// `ssh-ed25519`.
        Ed25519 = "ed25519",
    }
    /// Whether a connector is used.
    ConnectorState {
        /// People sign in by it.
        Active = "active",
        /// Nobody does.
        Disabled = "disabled",
    }
    /// Which claim of an ID token is the external id.
    ExternalIdClaim {
        /// Entra's `oid`: the same for every client of its tenant.
        Oid = "oid",
        /// OpenID Connect's own.
        Sub = "sub",
    }
    /// Who is let in by an external id that nobody here has.
    JoinRule {
        /// Anybody: the first login creates the user.
        FirstLogin = "first-login",
        /// Nobody: SCIM creates users.
        Scim = "scim",
    }
    /// The algorithm of a stored key.
    KeyAlgorithm {
        /// Ed25519.
        Ed25519 = "ed25519",
        /// ECDSA on P-256.
        P256 = "p256",
    }
    /// Who holds the private half of a stored key.
    KeyCustody {
        /// AWS KMS, which never gives it away.
        AwsKms = "aws-kms",
        /// The database, wrapped by AWS KMS.
        AwsKmsWrapped = "aws-kms-wrapped",
        /// The database, under the seal key.
        Software = "software",
    }
    /// What a stored key is for.
    KeyPurpose {
        /// Signs audit checkpoints.
        Audit = "audit",
        /// Signs user certificates of a project.
        SshUserCa = "ssh-user-ca",
        /// Signs desired state.
        State = "state",
        /// Issues the broker's TLS leaves.
        TlsRoot = "tls-root",
        /// Signs client certificates of a project.
        X509Ca = "x509-ca",
    }
    /// Whether a stored key still signs.
    KeyState {
        /// Signs.
        Active = "active",
        /// Is only trusted, or not even that.
        Retired = "retired",
    }
    /// What can be locked.
    LockKind {
        /// A client installation.
        Device = "device",
        /// A project.
        Project = "project",
        /// A server.
        Server = "server",
        /// A user.
        User = "user",
    }
    /// What certificates may forward on targets.
    PortForwarding {
        /// Everything that sshd allows.
        All = "all",
        /// Client to server only.
        Local = "local",
        /// Nothing.
        Off = "off",
    }
    /// What a server is for.
    ServerRole {
        /// Forwards to others as well.
        Bastion = "bastion",
        /// Is logged in to.
        Target = "target",
    }
}
