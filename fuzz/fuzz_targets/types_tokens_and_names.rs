//! Everything that is parsed from text at the edge: what is accepted is written back exactly as it came.
#![no_main]

use usher_types::{
    DeviceName, DisplayName, GroupName, HostName, Label, LoginName, Principal, ProjectSlug, SecretToken,
    ServerId, Sha256, TeamSlug, TokenKind, UnixGroupName, UnixTime, UserId, UserName,
};

fn exact<T: std::str::FromStr + ToString>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    exact::<DeviceName>(text);
    exact::<DisplayName>(text);
    exact::<GroupName>(text);
    exact::<HostName>(text);
    exact::<Label>(text);
    exact::<LoginName>(text);
    exact::<Principal>(text);
    exact::<ProjectSlug>(text);
    exact::<ServerId>(text);
    exact::<Sha256>(text);
    exact::<TeamSlug>(text);
    exact::<UnixGroupName>(text);
    exact::<UserId>(text);
    exact::<UserName>(text);
    // Several texts mean the same moment; one parse later it is settled.
    if let Ok(time) = text.parse::<UnixTime>() {
        exact::<UnixTime>(&time.to_string());
    }
    for kind in [TokenKind::Enrollment, TokenKind::Session] {
        if let Ok(token) = SecretToken::parse(kind, text) {
            assert_eq!(*token.reveal(), *text);
        }
    }
});
