//! The one TLS connector, shared by REST and the streams.
//!
//! Goes in: nothing, or the file of a private network's own authorities. Comes out: a connector for TLS 1.2 and newer,
//! and where its roots came from. It is built once, because building it parses every root of the system (up to half a
//! second on a small board); cloning it is free. And it is built when it is first needed, by whoever comes first: connections
//! to an exchange that is far away are opened meanwhile.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use native_tls::{Certificate, Protocol, TlsConnector, TlsConnectorBuilder};

/// Where the trusted roots came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsRoots {
    /// The system's own store.
    System,
    /// Mozilla's roots as compiled into this program, because the system has none.
    CompiledIn,
    /// The authorities of this file and no others.
    Pinned(PathBuf),
    /// None: only unencrypted connections, which means loopback hosts.
    Nobody,
}

impl fmt::Display for TlsRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the system's roots"),
            Self::CompiledIn => f.write_str("the compiled-in roots (the system has none; install ca-certificates)"),
            Self::Pinned(path) => write!(f, "only the authorities in {}", path.display()),
            Self::Nobody => f.write_str("nobody (TLS is not set up: for loopback hosts only)"),
        }
    }
}

/// Why there is no connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// The connector and the origin of its roots. Clones share it.
#[derive(Clone)]
pub struct Tls {
    /// `None` where TLS is not set up.
    connector: Option<Arc<Connector>>,
    roots: TlsRoots,
}

/// Parsed when it is first needed.
struct Connector {
    builder: Mutex<Option<TlsConnectorBuilder>>,
    built: OnceLock<Result<TlsConnector, TlsError>>,
}

impl Tls {
    /// Prepares the connector; with `ca_file` (PEM, one or more certificates) only those authorities are trusted.
    ///
    /// # Errors
    /// [`TlsError`] when the file cannot be read or holds no certificate.
    pub fn build(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let mut builder = TlsConnector::builder();
        builder.min_protocol_version(Some(Protocol::Tlsv12));
        let roots = match ca_file {
            Some(path) => {
                pin(&mut builder, path)?;
                TlsRoots::Pinned(path.to_owned())
            }
            None if system_has_roots() => TlsRoots::System,
            None => {
                add_compiled_in(&mut builder)?;
                TlsRoots::CompiledIn
            }
        };
        let connector = Connector { builder: Mutex::new(Some(builder)), built: OnceLock::new() };
        Ok(Self { connector: Some(Arc::new(connector)), roots })
    }

    /// For programs that talk to loopback hosts alone: nothing is parsed, and encrypted connections fail.
    pub fn none() -> Self {
        Self { connector: None, roots: TlsRoots::Nobody }
    }

    /// Where the trusted roots came from.
    pub fn roots(&self) -> &TlsRoots {
        &self.roots
    }

    /// The connector; whoever asks first builds it, and the others wait.
    ///
    /// # Errors
    /// [`TlsError`] where TLS is not set up, or the library refuses to.
    pub(super) fn connector(&self) -> Result<&TlsConnector, TlsError> {
        let Some(connector) = &self.connector else { return Err(TlsError("TLS is not set up".to_owned())) };
        connector.built.get_or_init(|| connector.build()).as_ref().map_err(TlsError::clone)
    }
}

impl Connector {
    fn build(&self) -> Result<TlsConnector, TlsError> {
        // It is taken once: nobody else comes here.
        let builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner).take();
        let builder = builder.ok_or_else(|| TlsError("TLS could not be set up".to_owned()))?;
        builder.build().map_err(|error| TlsError(format!("TLS cannot be set up: {error}")))
    }
}

fn pin(builder: &mut TlsConnectorBuilder, path: &Path) -> Result<(), TlsError> {
    let name = path.display();
    let pem = std::fs::read(path).map_err(|error| TlsError(format!("ca_file {name}: {error}")))?;
    let authorities =
        Certificate::stack_from_pem(&pem).map_err(|error| TlsError(format!("ca_file {name}: not PEM: {error}")))?;
    if authorities.is_empty() {
        return Err(TlsError(format!("ca_file {name}: holds no certificate (-----BEGIN CERTIFICATE-----)")));
    }
    builder.disable_built_in_roots(true);
    for authority in authorities {
        builder.add_root_certificate(authority);
    }
    Ok(())
}

fn add_compiled_in(builder: &mut TlsConnectorBuilder) -> Result<(), TlsError> {
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let root = Certificate::from_der(root)
            .map_err(|error| TlsError(format!("a compiled-in root cannot be read: {error}")))?;
        builder.add_root_certificate(root);
    }
    Ok(())
}

/// Looks where the TLS library looks. A folder or file that is there and empty (a minimal system) holds no roots.
fn system_has_roots() -> bool {
    let found = openssl_probe::probe();
    found.cert_file.is_some_and(|file| file_has_roots(&file)) || found.cert_dir.iter().any(|dir| folder_has_roots(dir))
}

fn file_has_roots(file: &Path) -> bool {
    const MARK: &[u8] = b"-----BEGIN ";
    std::fs::read(file).is_ok_and(|bytes| bytes.windows(MARK.len()).any(|window| window == MARK))
}

/// OpenSSL finds roots in a folder by names such as `5ed36f99.0`.
fn folder_has_roots(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.path().extension().is_some_and(|extension| extension == "0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("recompra-tls-{}-{:x}-{name}", std::process::id(), rand::random::<u64>()))
    }

    #[test]
    fn a_ca_file_that_is_missing_empty_or_something_else_is_an_error_that_names_it() {
        let path = temporary("ca.pem");
        for content in [None, Some(""), Some("not a certificate"), Some("-----BEGIN CERTIFICATE-----\nAAAA\n")] {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = Tls::build(Some(&path)).err().unwrap().to_string();
            assert!(error.contains("ca_file") && error.contains("ca.pem"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn without_a_file_there_are_roots_in_any_case() {
        let tls = Tls::build(None).unwrap();
        assert!(tls.connector().is_ok());
        assert!(matches!(tls.roots(), TlsRoots::System | TlsRoots::CompiledIn));
    }

    #[test]
    fn every_compiled_in_root_can_be_read() {
        add_compiled_in(&mut TlsConnector::builder()).unwrap();
        assert!(webpki_root_certs::TLS_SERVER_ROOT_CERTS.len() > 50);
    }

    #[test]
    fn empty_files_and_folders_hold_no_roots() {
        let folder = temporary("certs");
        std::fs::create_dir(&folder).unwrap();
        assert!(!folder_has_roots(&folder));
        let file = folder.join("5ed36f99.0");
        std::fs::write(&file, "").unwrap();
        assert!(folder_has_roots(&folder) && !file_has_roots(&file));
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----").unwrap();
        assert!(file_has_roots(&file));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
