//! SSH host keys as hosts report them: algorithm, encoding and size are checked, comments dropped. Whose key it is,
//! nobody can tell from the key; that follows from the agent's proof.
//!
//! The lines end up in `known_hosts` form at clients, so nothing but `algorithm base64` may get through.

use data_encoding::BASE64;
use thiserror::Error;

/// Longer than a line of an RSA key of 16,384 bits.
const MAX_LINE: usize = 4096;

/// RFC 8301 and NIST SP 800-131A agree on the least; OpenSSH refuses more.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=16_384;

/// Why a line is no host key that is accepted.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum HostKeyError {
    /// Well-formed, but not one of the accepted algorithms.
    #[error("its algorithm is none of ssh-ed25519, ecdsa-sha2-nistp256, -nistp384, -nistp521, ssh-rsa")]
    Algorithm,
    /// Not `algorithm base64 [comment]`, or the base64 says something else than the algorithm.
    #[error("expected a line such as `ssh-ed25519 AAAA...`")]
    Form,
    /// An RSA key outside 2,048 to 16,384 bits.
    #[error("an RSA key must have 2048 to 16384 bits")]
    Size,
}

/// Checks one line and gives it back without its comment.
pub(super) fn parse(line: &str) -> Result<String, HostKeyError> {
    if line.len() > MAX_LINE || line.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(HostKeyError::Form);
    }
    let mut words = line.split(' ');
    let (Some(algorithm), Some(encoded)) = (words.next(), words.next()) else {
        return Err(HostKeyError::Form);
    };
    let blob = BASE64.decode(encoded.as_bytes()).map_err(|_error| HostKeyError::Form)?;
    let mut rest = blob.as_slice();
    let check = match algorithm {
        "ssh-ed25519" => ed25519,
        "ecdsa-sha2-nistp256" => |rest: &mut &[u8]| ecdsa(rest, b"nistp256", 32),
        "ecdsa-sha2-nistp384" => |rest: &mut &[u8]| ecdsa(rest, b"nistp384", 48),
        "ecdsa-sha2-nistp521" => |rest: &mut &[u8]| ecdsa(rest, b"nistp521", 66),
        "ssh-rsa" => rsa,
        _ => return Err(HostKeyError::Algorithm),
    };
    if string(&mut rest)? != algorithm.as_bytes() {
        return Err(HostKeyError::Form);
    }
    check(&mut rest)?;
    if rest.is_empty() { Ok(format!("{algorithm} {encoded}")) } else { Err(HostKeyError::Form) }
}

/// RFC 4251 section 5: a length of four bytes, then the bytes.
fn string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], HostKeyError> {
    let (length, behind) = rest.split_first_chunk::<4>().ok_or(HostKeyError::Form)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_error| HostKeyError::Form)?;
    let (value, behind) = behind.split_at_checked(length).ok_or(HostKeyError::Form)?;
    *rest = behind;
    Ok(value)
}

/// RFC 8709 section 4.
fn ed25519(rest: &mut &[u8]) -> Result<(), HostKeyError> {
    if string(rest)?.len() == 32 { Ok(()) } else { Err(HostKeyError::Form) }
}

/// RFC 5656 section 3.1: the curve's name, then an uncompressed point.
fn ecdsa(rest: &mut &[u8], curve: &[u8], coordinate: usize) -> Result<(), HostKeyError> {
    if string(rest)? != curve {
        return Err(HostKeyError::Form);
    }
    match string(rest)?.split_first() {
        Some((4, point)) if point.len() == coordinate.saturating_mul(2) => Ok(()),
        _ => Err(HostKeyError::Form),
    }
}

/// RFC 4253 section 6.6: the exponent, then the modulus.
fn rsa(rest: &mut &[u8]) -> Result<(), HostKeyError> {
    let exponent = positive(string(rest)?)?;
    let modulus = positive(string(rest)?)?;
    if exponent.is_empty() || exponent.len() > 8 {
        return Err(HostKeyError::Form);
    }
    let unused = modulus.first().map_or(0, |byte| byte.leading_zeros());
    let unused = usize::try_from(unused).map_err(|_error| HostKeyError::Form)?;
    let bits = modulus.len().saturating_mul(8).saturating_sub(unused);
    if RSA_BITS.contains(&bits) { Ok(()) } else { Err(HostKeyError::Size) }
}

/// RFC 4251 section 5, `mpint`: positive and in its shortest form; without the sign byte.
fn positive(bytes: &[u8]) -> Result<&[u8], HostKeyError> {
    match bytes {
        [0, rest @ ..] if rest.first().is_some_and(|byte| byte & 0x80 != 0) => Ok(rest),
        [0, ..] => Err(HostKeyError::Form),
        [first, ..] if first & 0x80 == 0 => Ok(bytes),
        _ => Err(HostKeyError::Form),
    }
}

#[cfg(test)]
mod tests {
    use super::{HostKeyError, parse};

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHdXRsMCCM4ZPqoq6bUfkwTXLVtFqPCiC1YBNNpPqA6k";

    fn line(algorithm: &str, inner: &str, parts: &[&[u8]]) -> String {
        let mut blob = Vec::new();
        for part in [inner.as_bytes()].iter().chain(parts) {
            blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            blob.extend(*part);
        }
        format!("{algorithm} {}", data_encoding::BASE64.encode(&blob))
    }

    #[test]
    fn drops_the_comment() {
        assert_eq!(parse(&format!("{ED25519} root@web-1 @cert-authority")).unwrap(), ED25519);
    }

    #[test]
    fn accepts_the_algorithms_of_stock_sshd() {
        let point = |length: usize| [&[4_u8][..], &vec![7; length * 2]].concat();
        let modulus = |bytes: usize| [&[0_u8, 0x80][..], &vec![1; bytes - 1]].concat();
        for good in [
            line("ssh-ed25519", "ssh-ed25519", &[&[7; 32]]),
            line("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", &[b"nistp256", &point(32)]),
            line("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", &[b"nistp384", &point(48)]),
            line("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521", &[b"nistp521", &point(66)]),
            line("ssh-rsa", "ssh-rsa", &[&[1, 0, 1], &modulus(256)]),
        ] {
            assert_eq!(parse(&good).as_deref(), Ok(good.as_str()));
        }
    }

    #[test]
    fn refuses_what_is_no_host_key() {
        let small = [&[0_u8, 0x80][..], &[1; 127]].concat();
        for (bad, error) in [
            ("".to_owned(), HostKeyError::Form),
            ("ssh-ed25519".to_owned(), HostKeyError::Form),
            (format!("{ED25519}\n* {ED25519}"), HostKeyError::Form),
            (line("ssh-ed25519", "ssh-rsa", &[&[7; 32]]), HostKeyError::Form),
            (line("ssh-ed25519", "ssh-ed25519", &[&[7; 31]]), HostKeyError::Form),
            (line("ssh-ed25519", "ssh-ed25519", &[&[7; 32], &[]]), HostKeyError::Form),
            (
                line("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", &[b"nistp384", &[4; 65]]),
                HostKeyError::Form,
            ),
            (line("ssh-rsa", "ssh-rsa", &[&[1, 0, 1], &small]), HostKeyError::Size),
            (line("ssh-dss", "ssh-dss", &[&[1]]), HostKeyError::Algorithm),
            (
                line("ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519-cert-v01@openssh.com", &[]),
                HostKeyError::Algorithm,
            ),
        ] {
            assert_eq!(parse(&bad), Err(error), "{bad}");
        }
    }
}
