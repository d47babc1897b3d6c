//! Behaviour of the shared types through their public API.
#![expect(clippy::string_slice, reason = "cuts ASCII text that it made itself")]
#![cfg(test)]

mod ids;
mod names;
mod networks;
mod principals;
mod secrets;
mod times;
