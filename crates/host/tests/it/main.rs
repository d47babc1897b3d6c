//! The Linux adapter for real: accounts are made, sshd and sudo are asked, in a private copy of this machine.
//!
//! Every test starts itself again inside new namespaces with an overlay for `/`, so the outer host is never touched. That
//! needs root, overlayfs, OpenSSH's server and sudo; without them the tests fail and say what is missing.
#![cfg(test)]

mod accounts;
mod conflicts;
mod crash;
mod files;
mod homes;
mod login;
mod sessions;
mod sshd;
mod sudo;
mod world;
