//! What the identity token of a workload has to say: rules about its claims, as an administrator writes them. Reading and
//! verifying tokens is done elsewhere.
//!
//! A rule is a claim's exact value, in which a whole segment between `/` and `:` may be `*`. A wildcard never reaches into
//! the next segment and never stands for a part of one: `repo:acme/app*` would let in `repo:acme/app-evil`, so it cannot be
//! written.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Claims that say who a workload is, at the issuers that many share: a rule about one of them there must be.
const WHO: [&str; 13] = [
    "sub",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "job_workflow_ref",
    "project_id",
    "project_path",
    "namespace_id",
    "namespace_path",
    "organization_id",
    "terraform_organization_id",
    "client_id",
];
/// Claims that are checked for every token by what they mean.
const CHECKED: [&str; 6] = ["aud", "exp", "iat", "iss", "jti", "nbf"];
const MOST_RULES: usize = 16;
const LONGEST: usize = 256;
const SEPARATORS: [char; 2] = ['/', ':'];

/// A claim's value, or the values that it may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimPattern(String);

/// Why a text is no pattern of a claim's value.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ParsePatternError {
    /// Everything would fit.
    #[error("the first part must be written out: `*` may stand behind a `/` or a `:` only")]
    Beginning,
    /// Empty, long, or with characters that cannot be seen.
    #[error("expected 1 to {LONGEST} bytes without control characters")]
    Text,
    /// A wildcard is a part of a segment.
    #[error("`*` stands for a whole part between `/` and `:`, as in `repo:acme/*:ref:refs/heads/main`")]
    Wildcard,
}

impl FromStr for ClaimPattern {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > LONGEST || text.contains(char::is_control) {
            return Err(ParsePatternError::Text);
        }
        for (position, segment) in text.split(SEPARATORS).enumerate() {
            if segment.contains('*') && segment != "*" {
                return Err(ParsePatternError::Wildcard);
            }
            if segment == "*" && position == 0 {
                return Err(ParsePatternError::Beginning);
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl ClaimPattern {
    /// Whether a claim's value fits.
    #[must_use]
    pub fn fits(&self, value: &str) -> bool {
        let mut values = value.split_inclusive(SEPARATORS);
        let mut patterns = self.0.split_inclusive(SEPARATORS);
        loop {
            match (patterns.next(), values.next()) {
                (None, None) => return true,
                (Some(pattern), Some(value)) if segment_fits(pattern, value) => {}
                (Some(_), _) | (None, Some(_)) => return false,
            }
        }
    }
}

/// Both with the separator that ends them, if one does.
fn segment_fits(pattern: &str, value: &str) -> bool {
    let Some(end) = pattern.strip_prefix('*') else { return pattern == value };
    let stem = value.trim_end_matches(SEPARATORS);
    !stem.is_empty() && value.strip_prefix(stem) == Some(end)
}

impl fmt::Display for ClaimPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ClaimPattern {
    type Error = ParsePatternError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ClaimPattern> for String {
    fn from(pattern: ClaimPattern) -> Self {
        pattern.0
    }
}

/// What a token has to say. Every rule must hold, and there is at least one about who the workload is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct ClaimRules(BTreeMap<String, ClaimPattern>);

/// Why texts are no rules.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseRulesError {
    /// This claim cannot be asked for.
    #[error("`{0}` is no claim that a rule can be about")]
    Claim(String),
    /// Too many.
    #[error("at most {MOST_RULES} rules")]
    Many,
    /// Anybody at the issuer would fit.
    #[error(
        "no rule says who the workload is: name `sub`, or what else the issuer has for it, such as `repository` or \
         `project_path`"
    )]
    Nobody,
    /// A value cannot be read.
    #[error("claim `{claim}`: {error}")]
    Pattern {
        /// Whose value it is.
        claim: String,
        /// What is wrong with it.
        error: ParsePatternError,
    },
}

impl ClaimRules {
    /// Reads rules: a claim's name, and what its value must be.
    ///
    /// # Errors
    /// [`ParseRulesError`].
    pub fn parse(rules: &BTreeMap<String, String>) -> Result<Self, ParseRulesError> {
        if rules.len() > MOST_RULES {
            return Err(ParseRulesError::Many);
        }
        let mut parsed = BTreeMap::new();
        for (claim, pattern) in rules {
            let plain = (1..=64).contains(&claim.len())
                && claim.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:".contains(&byte));
            if !plain || CHECKED.contains(&claim.as_str()) {
                return Err(ParseRulesError::Claim(claim.chars().take(64).collect()));
            }
            let pattern =
                pattern.parse().map_err(|error| ParseRulesError::Pattern { claim: claim.clone(), error })?;
            parsed.insert(claim.clone(), pattern);
        }
        if !WHO.iter().any(|claim| parsed.contains_key(*claim)) {
            return Err(ParseRulesError::Nobody);
        }
        Ok(Self(parsed))
    }

    /// The first claim that does not fit; none when all do. `claim` gives a claim that is a text.
    #[must_use]
    pub fn broken_by<'a>(&self, claim: impl Fn(&str) -> Option<&'a str>) -> Option<&str> {
        let broken = |(name, pattern): &(&String, &ClaimPattern)| {
            !claim(name).is_some_and(|value| pattern.fits(value))
        };
        self.0.iter().find(broken).map(|(name, _)| name.as_str())
    }

    /// As they were written.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(claim, pattern)| (claim.clone(), pattern.to_string())).collect()
    }
}

impl TryFrom<BTreeMap<String, String>> for ClaimRules {
    type Error = ParseRulesError;

    fn try_from(rules: BTreeMap<String, String>) -> Result<Self, Self::Error> {
        Self::parse(&rules)
    }
}

impl From<ClaimRules> for BTreeMap<String, String> {
    fn from(rules: ClaimRules) -> Self {
        rules.to_map()
    }
}
