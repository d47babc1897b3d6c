//! Behaviour of the shared types through their public API.

mod ids;
mod names;
mod principals;
mod secrets;
mod times;
