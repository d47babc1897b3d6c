//! Reads as much of `sshd_config` as is needed to know whether drop-ins are read. sshd itself is asked for everything else.

pub(super) const MAIN: &str = "/etc/ssh/sshd_config";

/// Ways in which the main file may name the drop-ins.
const PATTERNS: [&str; 3] =
    ["/etc/ssh/sshd_config.d/*.conf", "/etc/ssh/sshd_config.d/*", "sshd_config.d/*.conf"];

/// The keyword of a line, in lower case, and the rest. sshd takes `Key value`, `Key=value` and quotes.
fn split(line: &str) -> Option<(String, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=' || c == '"').unwrap_or(line.len());
    let (keyword, rest) = line.split_at_checked(end)?;
    Some((keyword.to_ascii_lowercase(), rest.trim_start_matches(|c: char| c.is_whitespace() || c == '=')))
}

fn patterns(rest: &str) -> impl Iterator<Item = &str> {
    rest.split_whitespace().take_while(|word| !word.starts_with('#')).map(|word| word.trim_matches('"'))
}

/// Whether the main file reads the drop-ins before its first `Match`; else why not.
pub(super) fn includes_drop_ins(text: &str) -> Result<(), &'static str> {
    for line in text.lines() {
        let Some((keyword, rest)) = split(line) else { continue };
        match keyword.as_str() {
            "include" if patterns(rest).any(|pattern| PATTERNS.contains(&pattern)) => return Ok(()),
            "match" => {
                return Err(
                    "`/etc/ssh/sshd_config` has a Match block before it includes `/etc/ssh/sshd_config.d/*.conf`, \
                            so settings there would not be about everybody",
                );
            }
            _ => {}
        }
    }
    Err("`/etc/ssh/sshd_config` does not include `/etc/ssh/sshd_config.d/*.conf`")
}

/// The main file with its drop-ins read from `directory` instead.
pub(super) fn with_drop_ins_in(text: &str, directory: &str) -> String {
    let mut composed = String::new();
    for line in text.lines() {
        match split(line) {
            Some((keyword, rest)) if keyword == "include" => {
                composed.push_str("Include");
                for pattern in patterns(rest) {
                    let place = match pattern {
                        "/etc/ssh/sshd_config.d/*" => format!("{directory}/*"),
                        pattern if PATTERNS.contains(&pattern) => format!("{directory}/*.conf"),
                        other => other.to_owned(),
                    };
                    composed.push_str(&format!(" \"{place}\""));
                }
            }
            _ => composed.push_str(line),
        }
        composed.push('\n');
    }
    composed
}

#[cfg(test)]
mod tests {
    use super::{includes_drop_ins, with_drop_ins_in};

    #[test]
    fn an_include_counts_only_before_a_match() {
        for good in [
            "Include /etc/ssh/sshd_config.d/*.conf\n",
            "  include=\"/etc/ssh/sshd_config.d/*.conf\" # comment\n",
            "# Match all\nPort 22\nINCLUDE /x /etc/ssh/sshd_config.d/*.conf\nMatch User a\n",
            "Include sshd_config.d/*.conf",
        ] {
            assert_eq!(includes_drop_ins(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "Port 22\n",
            "#Include /etc/ssh/sshd_config.d/*.conf\n",
            "Match User a\nInclude /etc/ssh/sshd_config.d/*.conf\n",
            "match=all\nInclude /etc/ssh/sshd_config.d/*.conf\n",
            "Include /etc/ssh/other.d/*.conf\n",
            "Include # /etc/ssh/sshd_config.d/*.conf\n",
        ] {
            assert!(includes_drop_ins(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_our_include_is_moved() {
        let text =
            with_drop_ins_in("Port 22\nInclude /a /etc/ssh/sshd_config.d/*.conf\nMatch User x\n", "/tmp/d");
        assert_eq!(text, "Port 22\nInclude \"/a\" \"/tmp/d/*.conf\"\nMatch User x\n");
    }
}
