//! Versioned wire types, error codes and OpenAPI of the Usher broker.
//!
//! The only crate that says how Usher's JSON looks. Requests refuse unknown fields, answers tolerate them. Field types
//! are the checked types of `usher-types`, so a value that parsed is a value that may be used. Nothing here decides
//! anything and nothing here does I/O.
//!
//! ```
//! use usher_api::v1::ConnectionRequest;
//!
//! let refused = serde_json::from_str::<ConnectionRequest>(r#"{"server":"web-1","purpose":"command","keys":[],"root":1}"#);
//! assert!(refused.unwrap_err().to_string().contains("unknown field `root`"));
//! ```
#![forbid(unsafe_code)]

pub mod error;
pub mod headers;
mod openapi;
pub mod v1;

pub use error::{ErrorBody, ErrorCode, ErrorResponse, StepUp};
pub use openapi::{openapi, openapi_json};
