//! Where the journal lives when the configuration does not say.

use std::path::{Path, PathBuf};

use super::{Config, Variables};

impl Config {
    /// The bot's own state directory: `state_dir` of the file, else a folder named after bot, environment and
    /// symbol under systemd's `STATE_DIRECTORY`, else under `$XDG_STATE_HOME/recompra`, else under
    /// `~/.local/state/recompra`.
    ///
    /// # Errors
    /// When the file names none and none of the variables is set.
    pub fn state_directory(&self, variables: Variables<'_>) -> Result<PathBuf, String> {
        if let Some(directory) = &self.state_dir {
            return Ok(directory.clone());
        }
        let name = format!("{}-{}-{}", self.bot, self.environment, self.parameters.symbol);
        // Relative values of these variables are void by their own specifications.
        let absolute = |variable| variables(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        // systemd separates several directories with colons; the first is the bots'.
        let from_systemd = variables("STATE_DIRECTORY").and_then(|value| {
            let first = value.to_str()?.split(':').next()?.to_owned();
            Some(PathBuf::from(first)).filter(|path| path.is_absolute())
        });
        let parent = from_systemd
            .or_else(|| absolute("XDG_STATE_HOME").map(|path| path.join("recompra")))
            .or_else(|| absolute("HOME").map(|path| path.join(Path::new(".local/state/recompra"))));
        parent.map(|parent| parent.join(name)).ok_or_else(|| {
            "no place for the state directory: set state_dir in the configuration (cron may have no HOME)".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve_with(state_dir: Option<&str>, variables: &[(&str, &str)]) -> Result<PathBuf, String> {
        let mut config = super::super::parse(super::super::EXAMPLE, Path::new("example.toml")).unwrap();
        config.state_dir = state_dir.map(PathBuf::from);
        config.state_directory(&|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_most_specific_wish_wins() {
        let all = [("STATE_DIRECTORY", "/var/lib/recompra:/x"), ("XDG_STATE_HOME", "/xdg"), ("HOME", "/home/me")];
        let path = |text: &str| Ok(PathBuf::from(text));
        assert_eq!(resolve_with(Some("/mine"), &all), path("/mine"));
        assert_eq!(resolve_with(None, &all), path("/var/lib/recompra/btc-demo-BTCUSDT"));
        assert_eq!(resolve_with(None, &all[1..]), path("/xdg/recompra/btc-demo-BTCUSDT"));
        assert_eq!(resolve_with(None, &all[2..]), path("/home/me/.local/state/recompra/btc-demo-BTCUSDT"));
    }

    #[test]
    fn relative_and_missing_variables_do_not_count() {
        let home = ("HOME", "/home/me");
        assert!(resolve_with(None, &[("XDG_STATE_HOME", "state"), home]).unwrap().starts_with("/home/me"));
        assert!(resolve_with(None, &[("XDG_STATE_HOME", ""), home]).unwrap().starts_with("/home/me"));
        assert!(resolve_with(None, &[]).unwrap_err().contains("state_dir"));
    }
}
