//! Strict JSON: the right content type, no unknown fields (the types say so), nothing behind the value, bounded depth
//! (serde_json's own), and an error that names the field.

use http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use usher_api::ErrorCode;

use crate::error::ApiError;

const LONGEST_MESSAGE: usize = 300;

/// Reads a body. An empty one is the unit value, so `()` means: no body.
pub(crate) fn parse_json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, ApiError> {
    if body.is_empty() {
        return serde_json::from_slice(b"null").map_err(|_error| {
            ApiError::invalid("the request body is empty; this endpoint wants a JSON object")
        });
    }
    if !is_json(headers) {
        return Err(ApiError::new(
            ErrorCode::UnsupportedMediaType,
            "the request body must be JSON, with the header `content-type: application/json`",
        ));
    }
    // Serde also fills a struct from an array by position, which no field name would ever protect.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(ApiError::invalid("the request body must be a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        match path.as_str() {
            "." | "?" => ApiError::invalid(shown(&cause.to_string())),
            path => ApiError::invalid(shown(&format!("field `{path}`: {cause}"))),
        }
    })?;
    deserializer.end().map_err(|_error| ApiError::invalid("there is something behind the JSON value"))?;
    Ok(value)
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Messages repeat parts of the input: bounded, on one line, printable.
fn shown(message: &str) -> String {
    message.chars().take(LONGEST_MESSAGE).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};
    use usher_api::{
        ErrorCode,
        v1::{CreateGroup, EnrollRequest},
    };

    use super::parse_json;

    fn json() -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))])
    }

    fn code<T: serde::de::DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Option<ErrorCode> {
        parse_json::<T>(headers, body).err().map(|error| error.code())
    }

    #[test]
    fn takes_one_value_of_the_right_type_and_nothing_else() {
        assert_eq!(code::<CreateGroup>(&json(), br#"{"name":"sre"}"#), None);
        let deep = format!("{{\"name\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for body in [
            &b"{"[..],
            br#"{"name":"sre","x":1}"#,
            br#"{"name":1}"#,
            br#"{"name":"sre"}{"#,
            br#"{"name":"../x"}"#,
            b"null",
            b"[]",
            br#" ["sre"]"#,
            b"",
            b"\xff\xfe",
            deep.as_bytes(),
        ] {
            assert_eq!(code::<CreateGroup>(&json(), body), Some(ErrorCode::InvalidRequest));
        }
    }

    #[test]
    fn wants_the_content_type() {
        assert_eq!(
            code::<CreateGroup>(&HeaderMap::new(), br#"{"name":"sre"}"#),
            Some(ErrorCode::UnsupportedMediaType)
        );
    }

    #[test]
    fn a_request_without_a_body_takes_none() {
        assert_eq!(code::<()>(&HeaderMap::new(), b""), None);
        assert_eq!(code::<()>(&json(), b"{}"), Some(ErrorCode::InvalidRequest));
    }

    #[test]
    fn names_the_field_and_shows_one_short_printable_line() {
        let body = br#"{"token":"x","name":"web","facts":{"addresses":[{"ip":"10.0.0.1","port":70000}],"host_keys":[],"os":"","sshd_version":""}}"#;
        let message = parse_json::<EnrollRequest>(&json(), body).err().map(|error| format!("{error:?}"));
        assert!(message.is_some_and(|message| message.contains("facts.addresses[0].port")));
        let body = format!("{{\"name\":\"{}\\u001b[31m\\n\"}}", "a".repeat(5000));
        let message =
            parse_json::<CreateGroup>(&json(), body.as_bytes()).err().map(|error| error.message().to_owned());
        assert!(
            message.is_some_and(|message| message.len() <= 300 && !message.chars().any(char::is_control))
        );
    }
}
