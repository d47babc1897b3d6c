//! Behaviour of the planner and of signed state, through the public API. Nothing here touches a real host.
#![cfg(test)]

mod allocate;
mod conflicts;
mod fake_host;
mod fixtures;
mod leaving;
mod locks;
mod names;
mod props;
mod render;
mod state;
