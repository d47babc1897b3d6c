//! X.509: what is made, what is refused, and what other programs say about it.

mod csr;
mod example;
mod issue;
mod openssl;
mod pkinit;
mod props;
mod verify;
