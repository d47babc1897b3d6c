//! The variant with keys in a KMS: moto beside the broker, and the settings that lead there. moto checks signatures and
//! IAM policies; that AWS itself would do the same is not shown here.

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;
use usher_testkit::kms::{Moto, REGION};

use super::{
    brokers::Variant,
    stack::{Stack, text},
};
use crate::{clock, lab::Host, workspace};

const CREDENTIALS: &str = "/etc/usher/aws-credentials";

/// Which KMS keeps the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kms {
    /// moto, a server that speaks AWS's API.
    Moto,
}

impl Variant {
    /// Installs what must be there before the laboratory has no way out.
    pub(super) fn install(self) {
        if self.kms.is_some() {
            Moto::install();
        }
        if self.idp.is_some() {
            super::idp::install();
        }
    }

    /// Custody of new projects. moto has no Ed25519.
    pub(super) fn project_custody(self) -> &'static [&'static str] {
        match self.kms {
            Some(Kms::Moto) => &["--custody", "aws-kms", "--certificate-type", "ecdsa-p256"],
            None => &[],
        }
    }
}

impl Stack {
    /// Starts the KMS on the broker's host; gives the options of `usher-broker init` that lead to it.
    pub(super) fn start_kms(&self, broker: &Host) -> Result<Vec<String>> {
        let told = broker.tools().join("kms.json");
        let program = workspace::own_executable()?;
        broker
            .beside("kms.log", [program.as_os_str(), "visit".as_ref(), "kms".as_ref(), told.as_os_str()])?;
        let kms = clock::wait_for("the KMS to answer", clock::PATIENCE, || std::fs::read(&told).ok())?;
        let kms: Value = serde_json::from_slice(&kms)?;
        broker.write(CREDENTIALS, 0o600, &text(&kms, "credentials")?)?;
        broker.cmd(["chown", "usher-broker:", CREDENTIALS]).read()?;
        let (url, principal) = (text(&kms, "url")?, text(&kms, "principal")?);
        let options = ["--custody", "aws-kms", "--kms-region", REGION, "--kms-principal", &principal];
        let places = ["--kms-credentials-file", CREDENTIALS, "--kms-endpoint-url", &url];
        Ok(options.into_iter().chain(places).map(str::to_owned).collect())
    }
}
