//! The API key and secret: from files that the configuration names, else from systemd's credentials, else from the
//! environment.
//!
//! They are never part of [`Config`], never printed, and errors name where they were looked for, not what was
//! found there.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Config, Variables};

/// A key file of more bytes than this holds no key.
const LARGEST_FILE: u64 = 4096;

/// The key and secret of one account. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Public part, sent with each request.
    pub key: String,
    /// Signs; never leaves this machine.
    pub secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials { .. }")
    }
}

/// What [`read`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The credentials.
    pub credentials: Credentials,
    /// Where each came from, for people: `BYBIT_API_KEY`, `/etc/recompra/key`.
    pub sources: [String; 2],
    /// What should be better, for example a file that everybody may read.
    pub warnings: Vec<String>,
}

/// One of the two values, and both ways to give it.
struct Wanted<'a> {
    what: &'static str,
    /// What `LoadCredential` of the unit calls it.
    credential: &'static str,
    variable: &'static str,
    key: &'static str,
    file: &'a Option<PathBuf>,
}

/// Reads both values: each from its file if the configuration names one, else from the files `api_key` and `api_secret` of
/// `$CREDENTIALS_DIRECTORY` (systemd's `LoadCredential`), else from `BYBIT_API_KEY` and `BYBIT_API_SECRET`. White space around them is dropped.
///
/// # Errors
/// All that is missing, empty, unreadable or malformed, one line each, with both ways to give it.
pub fn read(config: &Config, variables: Variables<'_>) -> Result<Found, String> {
    let wanted = |what, credential, variable, key, file| Wanted { what, credential, variable, key, file };
    let wanted = [
        wanted("API key", "api_key", "BYBIT_API_KEY", "api_key_file", &config.api_key_file),
        wanted("API secret", "api_secret", "BYBIT_API_SECRET", "api_secret_file", &config.api_secret_file),
    ];
    let mut warnings = Vec::new();
    let [key, secret] = wanted.map(|wanted| wanted.find(variables, &mut warnings));
    match (key, secret) {
        (Ok((key, from)), Ok((secret, secret_from))) => {
            Ok(Found { credentials: Credentials { key, secret }, sources: [from, secret_from], warnings })
        }
        (key, secret) => Err([key.err(), secret.err()].into_iter().flatten().collect::<Vec<_>>().join("\n")),
    }
}

impl Wanted<'_> {
    fn find(&self, variables: Variables<'_>, warnings: &mut Vec<String>) -> Result<(String, String), String> {
        let Self { what, key, variable, .. } = self;
        let file = self.file.clone().or_else(|| self.of_systemd(variables));
        let (text, source) = if let Some(path) = file {
            let text = read_file(&path).map_err(|reason| format!("{what}: {key} {}: {reason}", path.display()))?;
            if others_may_read(&path) {
                let path = path.display();
                warnings.push(format!("{path}: everybody on this machine can read the {what}: chmod 600 {path}"));
            }
            (text, path.display().to_string())
        } else if let Some(value) = variables(variable) {
            let value = value.into_string().map_err(|_| format!("{what}: {variable} is not plain text"))?;
            (value, (*variable).to_owned())
        } else {
            return Err(format!(
                "no {what}: set the environment variable {variable}, or write it into a file and name that as {key} in \
                 the configuration"
            ));
        };
        let value = text.trim();
        if value.is_empty() {
            return Err(format!("{what}: {source} is empty: give it by {variable} or {key}"));
        }
        // Bybit's are letters and digits; whatever else is printable is the exchange's to judge, but a line
        // break would end the header it is sent in.
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{what}: {source} holds blanks or characters that no key has: one line with it alone"));
        }
        Ok((value.to_owned(), source))
    }

    /// systemd's own credential of this name, if the unit gave one.
    fn of_systemd(&self, variables: Variables<'_>) -> Option<PathBuf> {
        let file = PathBuf::from(variables("CREDENTIALS_DIRECTORY")?).join(self.credential);
        file.exists().then_some(file)
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 >= LARGEST_FILE {
        return Err("is too large to be a key".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "is not plain text".to_owned())
}

#[cfg(unix)]
fn others_may_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn others_may_read(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::temporary_folder::TemporaryFolder;

    fn read_with(files: [Option<&Path>; 2], variables: &[(&str, &str)]) -> Result<Found, String> {
        let mut config = super::super::parse(super::super::EXAMPLE, Path::new("example.toml")).unwrap();
        [config.api_key_file, config.api_secret_file] = files.map(|file| file.map(PathBuf::from));
        read(&config, &|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    fn file(folder: &TemporaryFolder, content: &str, mode: u32) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.write("api_key", content);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_environment_gives_both() {
        let found = read_with([None; 2], &[("BYBIT_API_KEY", " key\n"), ("BYBIT_API_SECRET", "secret")]).unwrap();
        assert_eq!(found.credentials, Credentials { key: "key".into(), secret: "secret".into() });
        assert_eq!(found.sources, ["BYBIT_API_KEY", "BYBIT_API_SECRET"]);
        assert_eq!(found.warnings, [""; 0]);
    }

    #[test]
    fn a_file_goes_before_the_environment_and_is_trimmed() {
        let folder = TemporaryFolder::new("credentials-trimmed");
        let key = file(&folder, "from-file\r\n", 0o600);
        let variables = [("BYBIT_API_KEY", "other"), ("BYBIT_API_SECRET", "secret")];
        let found = read_with([Some(&key), None], &variables).unwrap();
        assert_eq!(found.credentials.key, "from-file");
        assert_eq!(found.warnings, [""; 0]);
    }

    #[test]
    fn systemd_s_credentials_go_between_the_files_and_the_environment() {
        let folder = TemporaryFolder::new("credentials-systemd");
        folder.write("api_key", "from-systemd\n");
        let directory = folder.path().display().to_string();
        let variables = [("CREDENTIALS_DIRECTORY", &*directory), ("BYBIT_API_KEY", "k"), ("BYBIT_API_SECRET", "s")];
        let found = read_with([None; 2], &variables).unwrap();
        // What is not among them is looked for further on.
        assert_eq!(found.credentials, Credentials { key: "from-systemd".into(), secret: "s".into() });
        let before = TemporaryFolder::new("credentials-before-systemd");
        let key = file(&before, "from-file", 0o600);
        assert_eq!(read_with([Some(&key), None], &variables).unwrap().credentials.key, "from-file");
    }

    #[test]
    fn a_file_that_everybody_may_read_is_warned_of() {
        let folder = TemporaryFolder::new("credentials-open");
        let key = file(&folder, "k", 0o644);
        let found = read_with([Some(&key), None], &[("BYBIT_API_SECRET", "s")]).unwrap();
        assert!(matches!(found.warnings.as_slice(), [warning] if warning.contains("chmod 600")), "{found:?}");
    }

    #[test]
    fn what_is_missing_is_named_with_both_ways_to_give_it() {
        let error = read_with([None; 2], &[]).unwrap_err();
        for word in ["BYBIT_API_KEY", "api_key_file", "BYBIT_API_SECRET", "api_secret_file"] {
            assert!(error.contains(word), "{word} in {error}");
        }
        let error = read_with([Some(Path::new("/nonexistent/key")), None], &[("BYBIT_API_SECRET", "s")]).unwrap_err();
        assert!(error.contains("api_key_file /nonexistent/key: cannot be read"), "{error}");
    }

    #[test]
    fn empty_and_malformed_values_are_refused_without_showing_them() {
        for value in ["", "  \n", "two words", "line\nbreak", "schlüssel"] {
            let error = read_with([None; 2], &[("BYBIT_API_KEY", "k"), ("BYBIT_API_SECRET", value)]).unwrap_err();
            assert!(error.starts_with("API secret: BYBIT_API_SECRET"), "{error}");
            assert!(value.trim().is_empty() || !error.contains(value), "{error}");
        }
    }

    #[test]
    fn neither_value_is_ever_shown_by_debug() {
        let found = read_with([None; 2], &[("BYBIT_API_KEY", "kkk"), ("BYBIT_API_SECRET", "sss")]).unwrap();
        let shown = format!("{found:?}");
        assert!(!shown.contains("kkk") && !shown.contains("sss"), "{shown}");
    }
}
