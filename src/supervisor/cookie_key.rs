//! The secret that the values of sticky cookies are made with: that of proxymgr.yml, or one that is made at the first start and
//! kept in `state_dir`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::config::Config;
use crate::engine::cookie::CookieKey;
use crate::engine::error_text::with_causes;
use crate::haproxy::config_file::write_atomically;
use crate::own_files;

const NAME: &str = "cookie-key";
const OWNER_ONLY: u32 = 0o600;
const RANDOM_BYTES: usize = 16;

/// The key; `None` when there is none yet.
pub(super) fn cookie_key(config: &Config) -> Option<CookieKey> {
    config.haproxy.cookie_key.clone().or_else(|| kept(&path_in(&config.state_dir)))
}

/// Makes a key where there is none. What fails of it is no obstacle: sticky clients lose their servers with the next start.
pub(super) fn make_cookie_key(config: &Config) {
    let path = path_in(&config.state_dir);
    if config.haproxy.cookie_key.is_some() || kept(&path).is_some() {
        return;
    }
    let made = random().map(|key| write_atomically(&path, &format!("{key}\n"), OWNER_ONLY));
    match made {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => warn!(error = with_causes(&error), "sticky cookies have no secret of their own"),
        Err(error) => warn!(%error, "sticky cookies have no secret of their own"),
    }
}

fn path_in(state_dir: &Path) -> PathBuf {
    state_dir.join(NAME)
}

fn kept(path: &Path) -> Option<CookieKey> {
    CookieKey::parse(own_files::read(path).ok()?.trim_end()).ok()
}

fn random() -> io::Result<String> {
    let mut bytes = [0; RANDOM_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let yml = format!("service_config: {{type: file, path: /s}}\nstate_dir: {}\n", dir.path().display());
        let read = |yml: &str| Config::parse(yml.as_bytes(), &|_| None).unwrap();
        let config = read(&yml);
        assert_eq!(cookie_key(&config), None);
        make_cookie_key(&config);
        let key = cookie_key(&config).unwrap();
        make_cookie_key(&config);
        assert_eq!(cookie_key(&config), Some(key));
        let own = read(&format!("{yml}haproxy: {{cookie_key: 0123456789abcdef}}\n"));
        assert_eq!(cookie_key(&own).unwrap().expose(), "0123456789abcdef");
    }
}
