//! Keys as people see them: which there are, who knows them, and the verbs that rotate them. A project's verbs are in
//! `project`, the team's in `team`.

use usher_api::v1::{Key, KeyCustody, KeyKind, KeyState, Page, RetireKeys, RotateKey};

use super::{api, project::text};
use crate::{
    cli::Context,
    exit::Failure,
    output::{self, Table},
};

/// As many servers are named; `--output json` names them all.
const NAMED: usize = 20;

/// Shows the keys at a path.
pub(super) fn show(context: &Context, path: &str) -> Result<(), Failure> {
    let keys: Page<Key> = api(context)?.get(path)?;
    output::show(context.format, &keys, |keys| table(&keys.items))
}

/// Puts a new key beside those at a path.
pub(super) fn rotate(
    context: &Context,
    path: &str,
    kind: KeyKind,
    custody: Option<KeyCustody>,
) -> Result<(), Failure> {
    let keys: Page<Key> = api(context)?.send("POST", path, &RotateKey { kind, custody })?;
    output::show(context.format, &keys, |keys| table(&keys.items))?;
    // The newest comes first.
    if let Some(certificate) = keys.items.iter().find(|key| key.kind == kind).and_then(new_root) {
        output::note(&format!(
            "import the new root where browsers look, before the old one is retired:\n{certificate}"
        ));
    }
    output::note("next: retire the old key when no server lacks the new one");
    Ok(())
}

fn new_root(key: &Key) -> Option<&String> {
    key.public.as_ref().filter(|_| key.kind == KeyKind::TlsRoot)
}

/// Retires all but the newest key at a path.
pub(super) fn retire(
    context: &Context,
    path: &str,
    kind: KeyKind,
    leave_behind: Vec<String>,
) -> Result<(), Failure> {
    let retire = RetireKeys { kind, leave_behind };
    let keys: Page<Key> = api(context)?.send("POST", &format!("{path}/retire"), &retire)?;
    output::show(context.format, &keys, |keys| table(&keys.items))
}

fn table(keys: &[Key]) -> String {
    let number = |number: Option<u32>| super::or_dash(number);
    let mut table =
        Table::new(&["kind", "state", "custody", "signs for", "acknowledged", "fingerprint", "made"]);
    for key in keys {
        table.row([
            text(&key.kind),
            text(&key.state),
            text(&key.custody),
            number(key.signs_for),
            match key.acknowledged {
                // Names say how many lack it, and both together are all.
                Some(known) => format!("{known} of {}", total(key, known)),
                None => "-".to_owned(),
            },
            key.fingerprint.to_string(),
            key.created_at.to_string(),
        ]);
    }
    let mut shown = table.render();
    for key in keys.iter().filter(|key| key.state == KeyState::Active && !key.lacking.is_empty()) {
        let names: Vec<String> = key.lacking.iter().take(NAMED).map(ToString::to_string).collect();
        let more = match key.lacking.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        shown.push_str(&format!(
            "{} {} is not known yet on: {}{more}\n",
            text(&key.kind),
            key.fingerprint,
            names.join(", ")
        ));
    }
    shown
}

fn total(key: &Key, known: u32) -> u32 {
    known.saturating_add(u32::try_from(key.lacking.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use usher_api::v1::Key;

    #[test]
    fn the_table_says_how_many_know_a_key_and_names_those_that_do_not() {
        let key: Key = serde_json::from_value(serde_json::json!({
            "id": "k", "kind": "ssh-user-ca", "custody": "software", "algorithm": "ed25519", "state": "active",
            "fingerprint": usher_types::Sha256::of(b"k"), "created_at": "2026-11-24T10:00:00.000Z",
            "signs_for": 1, "acknowledged": 1, "lacking": ["web-1", "web-2"],
        }))
        .unwrap();
        let shown = super::table(&[key]);
        assert!(shown.contains("1 of 3") && shown.contains("is not known yet on: web-1, web-2"), "{shown}");
    }
}
