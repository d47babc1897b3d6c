//! Nothing of `tests/it` is forgotten here.

/// About files, and what SQLite makes of them.
const SQLITE_ONLY: &[&str] = &["locked", "open"];

#[test]
fn every_module_that_sqlite_runs_is_run_on_postgresql() {
    let (sqlite, postgres) = (include_str!("../it/main.rs"), include_str!("main.rs"));
    let modules = sqlite.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    for module in modules.filter(|module| !SQLITE_ONLY.contains(module)) {
        assert!(postgres.contains(&format!("#[path = \"../it/{module}.rs\"]\nmod {module};")), "{module}");
    }
}
