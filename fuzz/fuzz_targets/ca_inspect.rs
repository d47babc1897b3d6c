//! Certificates in text form, as `usher certificate inspect` and logs show them: no panic, and one line stays one line.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(read) = usher_ca::inspect(text) {
        let lines = 7;
        let rows = |entries: usize| entries.max(1);
        let expected = lines
            + rows(read.valid_principals.len())
            + rows(read.critical_options.len())
            + rows(read.extensions.len());
        assert_eq!(read.to_string().lines().count(), expected);
    }
});
