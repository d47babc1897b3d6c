//! All checks by name, in the order in which they run. Each states what must hold; the functions show it.

mod accounts;
mod certificates;
mod connections;
mod crashes;
mod custody;
mod enrollment;
mod fleet;
mod hops;
mod leaving;
mod locks;
mod network;
mod policies;
mod rotation;
mod several;
mod signing_in;
mod step_up;
mod theft;

use anyhow::Result;

pub(super) use self::leaving::SOON;
use super::{brokers::Variant, idp, report::Report, stack::Stack};

/// Something that must hold.
pub(super) struct Check {
    /// What holds, as it stands in the report.
    pub(super) name: &'static str,
    /// Shows it; the text says what was seen.
    run: fn(&mut Stack) -> Result<String>,
}

const BEFORE_AGENTS: &str = "an unmanaged account's own key, own CA and password work before the agent comes";

/// Every check after the bring-up.
const ALL: &[Check] = &[
    Check {
        name: "target unreachable from the client without the bastion",
        run: network::targets_are_out_of_reach,
    },
    Check { name: "sign-in with password and TOTP", run: signing_in::works },
    Check { name: "wrong TOTP refused", run: signing_in::wrong_code },
    Check { name: "reused TOTP refused", run: signing_in::reused_code },
    Check { name: "wrong password refused", run: signing_in::wrong_password },
    Check { name: "unapproved device refused", run: signing_in::unapproved_device },
    Check { name: "usher ssh target-1 -- id prints uid 60001 and the right name", run: connections::id },
    Check { name: "sudo -n id works for an admin", run: accounts::admin_has_sudo },
    Check { name: "sudo -n id does not work for a user", run: accounts::user_has_no_sudo },
    Check { name: "remote exit status passed through", run: connections::exit_status },
    Check { name: "a terminal when somebody sits at one", run: connections::terminal },
    Check { name: "plain ssh target-1 over the installed ssh config", run: connections::plain_ssh },
    Check { name: "scp over the installed ssh config", run: connections::scp },
    Check { name: "sftp over the installed ssh config", run: connections::sftp },
    Check { name: "rsync over the installed ssh config", run: connections::rsync },
    Check { name: "50 parallel connections, 20 of them to one host", run: connections::fifty_at_once },
    Check { name: "a target with another host key refused", run: connections::other_host_key },
    Check {
        name: "certificate inspected: one principal, three minutes, expected extensions",
        run: certificates::inspected,
    },
    Check { name: "the same certificate refused on target-2", run: certificates::refused_elsewhere },
    Check {
        name: "the same certificate refused for another login",
        run: certificates::refused_for_other_login,
    },
    Check { name: "the certificate refused after its end", run: certificates::refused_after_end },
    Check {
        name: "a static key in a managed user's authorized_keys does not log in",
        run: accounts::static_key_is_dead,
    },
    Check {
        name: "an unmanaged account's own key, own CA and password work while the agent runs",
        run: accounts::unmanaged_works_during,
    },
    Check {
        name: "an account that the agent did not make is refused and shown",
        run: accounts::conflict_is_shown,
    },
    Check { name: "hop account: no shell", run: hops::no_shell },
    Check { name: "hop account: no -R", run: hops::no_remote_forwarding },
    Check { name: "hop account: no unix socket", run: hops::no_unix_socket },
    Check {
        name: "hop account: 127.0.0.1, 169.254.169.254 and other ports refused",
        run: hops::other_destinations,
    },
    Check {
        name: "a server that wants to be named interrupts usher ssh, which goes on after the sign-in",
        run: step_up::interrupts_and_resumes,
    },
    Check { name: "one sign-in for two servers, one record in the log", run: step_up::one_for_many },
    Check {
        name: "a role that counts from another network only refuses",
        run: step_up::from_another_network,
    },
    Check {
        name: "a policy in Cedar: told whom it takes what, tested, set, refuses with its reason",
        run: policies::told_tested_set_and_removed,
    },
    Check { name: "two bastions in a row", run: network::two_bastions_in_a_row },
    Check {
        name: "one of two bastions dies: the next connection goes by the other",
        run: network::bastion_dies,
    },
    Check { name: "the device key is the only secret on the client's disk", run: theft::only_secret },
    Check {
        name: "a copy of every client file on another host cannot connect",
        run: theft::copy_cannot_connect,
    },
    Check {
        name: "single-use token redeemed by 50 at once makes one server; a lost answer can be retried",
        run: enrollment::fifty_redeem_one_token,
    },
    Check { name: "user disabled: next connection refused at the broker", run: leaving::refused_at_broker },
    Check {
        name: "user disabled: certificate made before is refused on the target",
        run: leaving::refused_on_target,
    },
    Check { name: "user disabled: open session ended", run: leaving::session_ended },
    Check { name: "user disabled: account gone", run: leaving::account_gone },
    Check { name: "user locked: out at once, everywhere; unlocked: back unharmed", run: locks::user },
    Check { name: "server locked: out at once; unlocked: back unharmed", run: locks::server },
    Check { name: "project locked: out at once; unlocked: back unharmed", run: locks::project },
    Check {
        name: "rotate-ca: connections every 50 ms through a whole rotation, none refused",
        run: rotation::under_connections,
    },
    Check {
        name: "rotate-ca: a server that was off still works, is listed, and holds back the end",
        run: rotation::server_was_off,
    },
    Check { name: "agent killed with -9 during work comes back, accounts whole", run: crashes::agent_killed },
    Check {
        name: "broker killed with -9 during work comes back, no audit row lost, chain verifies",
        run: crashes::broker_killed,
    },
    Check {
        name: "rotate state, TLS root and audit key: broker killed in between, agents and clients follow",
        run: rotation::team_keys,
    },
    Check { name: "broker down: a valid certificate still logs in", run: crashes::broker_down_certificate },
    Check { name: "broker down: break-glass root still logs in", run: crashes::broker_down_break_glass },
    Check {
        name: "an unmanaged account's own key, own CA and password work after the agent has gone",
        run: accounts::unmanaged_works_after,
    },
];

/// What is looked at besides when there are several brokers on one database server.
const SEVERAL: &[Check] = &[
    Check { name: "several brokers: both make connections", run: several::both_work },
    Check {
        name: "several brokers: access taken away at one is refused at the other",
        run: several::disabled_everywhere,
    },
    Check {
        name: "several brokers: one killed with -9 under load, connections go on",
        run: several::one_dies,
    },
];

/// What is looked at besides when the database is a server.
const SERVER: &[Check] = &[Check {
    name: "database server crashes under load: nothing issued is lost, nothing twice",
    run: several::database_dies,
}];

/// What is looked at besides where nothing else is special: it is the same everywhere, and takes a while.
const PLAIN: &[Check] = &[Check {
    name: "one sign-in covers an Ansible run over ten hosts, one record in the log",
    run: fleet::one_sign_in_for_ansible,
}];

/// What is looked at besides when keys are in a KMS.
const KMS: &[Check] = &[
    Check { name: "KMS: the project's and the team's keys live there", run: custody::keys_are_elsewhere },
    Check { name: "KMS silent: no certificate, and again when it is back", run: custody::silent_kms },
];

/// What is looked at besides when there is an identity provider.
const IDP: &[Check] = &[
    Check {
        name: "identity provider: signed in there with a real browser, then usher ssh target-1",
        run: idp::signs_in,
    },
    Check {
        name: "identity provider: deactivated there (SCIM): the open session on target-1 ends",
        run: idp::leaves,
    },
];

/// Every check after the bring-up. The last one of [`ALL`] stays the last: the agents are gone after it.
pub(super) fn of(variant: Variant) -> impl Iterator<Item = &'static Check> {
    let (before, last) = ALL.split_at(ALL.len().saturating_sub(1));
    let several = if variant.brokers > 1 { SEVERAL } else { &[] };
    let server = if variant.is_spread() { SERVER } else { &[] };
    let kms = if variant.kms.is_some() { KMS } else { &[] };
    let idp = if variant.idp.is_some() { IDP } else { &[] };
    let is_plain = !variant.is_spread() && variant.kms.is_none() && variant.idp.is_none();
    let plain = if is_plain { PLAIN } else { &[] };
    [before, plain, several, server, kms, idp, last].into_iter().flatten()
}

/// What must be seen before any agent is there.
pub(super) fn before_agents(stack: &mut Stack, report: &mut Report) {
    report.check(BEFORE_AGENTS, || accounts::unmanaged_works_before(stack));
}

/// Runs them all, until somebody presses Ctrl-C.
pub(super) fn run_all(mut stack: Stack, report: &mut Report) -> Stack {
    for check in of(stack.variant) {
        if crate::interrupt::requested() {
            report.failed("the run was not interrupted", &anyhow::anyhow!("interrupted"));
            break;
        }
        report.check(check.name, || {
            (check.run)(&mut stack).map_err(|error| {
                let logs = stack.logs();
                anyhow::anyhow!("{error:#}\n{logs}")
            })
        });
    }
    stack
}
