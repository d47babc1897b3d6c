//! Error chains and the set-up of logging.

use std::{error::Error, fmt};

use usher_telemetry::{Chain, Format, InitError, init};

#[derive(Debug)]
struct Fault(&'static str, Option<Box<Self>>);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|fault| -> &(dyn Error + 'static) { fault })
    }
}

#[test]
fn prints_an_error_with_its_causes() {
    let fault = Fault("cannot start", Some(Box::new(Fault("no port", Some(Box::new(Fault("taken", None)))))));
    assert_eq!(Chain(&fault).to_string(), "cannot start: no port: taken");
}

#[test]
fn says_nothing_twice() {
    let fault = Fault("io: refused", Some(Box::new(Fault("refused", None))));
    assert_eq!(Chain(&fault).to_string(), "io: refused");
}

#[test]
fn refuses_levels_and_formats_that_do_not_exist() {
    assert!(matches!(init("loud=nothing=x", Format::Text), Err(InitError::Level { .. })));
    assert_eq!("json".parse(), Ok(Format::Json));
    assert!("xml".parse::<Format>().is_err());
}

#[test]
fn sets_up_logging_once() {
    init("info,usher_telemetry=debug", Format::Json).unwrap();
    assert!(matches!(init("info", Format::Text), Err(InitError::Already)));
}
