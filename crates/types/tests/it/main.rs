//! Behaviour of the shared types through their public API.
#![expect(clippy::string_slice, reason = "cuts ASCII text that it made itself")]

mod ids;
mod names;
mod principals;
mod secrets;
mod times;
