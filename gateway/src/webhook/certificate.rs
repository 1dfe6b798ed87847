//! A certificate of one's own, for Telegram to trust.

use shared::program::Failure;
use worker::Upload;
use x509_parser::pem::Pem;

/// A chain is some kilobytes.
const LARGEST: usize = 64 * 1024;

/// Read and looked at: a private key shall never be sent to anybody by mistake.
pub fn read(name: &str) -> Result<Upload, Failure> {
    let refused = |why: &str| Failure::Refused(format!("--certificate is {name:?}, but {why}"));
    let bytes = std::fs::read(name).map_err(|error| refused(&format!("it can't be read: {error}")))?;
    if bytes.len() > LARGEST {
        return Err(refused("it is no certificate: it is too large"));
    }
    if String::from_utf8_lossy(&bytes).contains("PRIVATE KEY") {
        return Err(refused("it holds a private key, which is nobody else's: give the certificate alone"));
    }
    let is_certificate = Pem::iter_from_buffer(&bytes)
        .all(|pem| pem.is_ok_and(|pem| pem.label == "CERTIFICATE" && pem.parse_x509().is_ok()));
    if !is_certificate || Pem::iter_from_buffer(&bytes).next().is_none() {
        return Err(refused("it must be a certificate in PEM: -----BEGIN CERTIFICATE-----"));
    }
    Ok(Upload { field: "certificate", file_name: "certificate.pem".to_owned(), bytes })
}
