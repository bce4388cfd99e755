//! Keys that the program signs with: given by the environment, or made once and kept in the data
//! directory, readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use base::Dice;
use secrecy::{ExposeSecret, SecretString};

/// Shortest key that is taken.
const KEY_CHARS: usize = 32;

/// The key that signs: `given`, or the one in `data_dir`, made on first use.
pub(crate) fn signing_key(
    given: Option<&SecretString>,
    data_dir: &Path,
) -> anyhow::Result<SecretString> {
    match given {
        Some(key) if key.expose_secret().len() < KEY_CHARS => {
            bail!("JWT_SECRET must have at least {KEY_CHARS} characters")
        }
        Some(key) => Ok(key.clone()),
        None => kept_key(&data_dir.join("jwt.key")),
    }
}

fn kept_key(path: &Path) -> anyhow::Result<SecretString> {
    if let Ok(text) = fs::read_to_string(path) {
        let text = text.trim();
        if text.len() >= KEY_CHARS {
            return Ok(SecretString::from(text.to_owned()));
        }
    }
    let key = Dice::secret::<32>().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("can't keep the signing key in {}", path.display()))?;
    file.write_all(key.as_bytes())?;
    file.sync_all()?;
    Ok(SecretString::from(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_is_kept_and_a_short_one_refused() {
        let dir = std::env::temp_dir().join(format!("smartline-keys-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a folder");
        let first = signing_key(None, &dir).expect("a key is made");
        let second = signing_key(None, &dir).expect("the key is kept");
        assert_eq!(first.expose_secret(), second.expose_secret());
        assert!(signing_key(Some(&"short".to_owned().into()), &dir).is_err());
        fs::remove_dir_all(&dir).expect("the folder goes");
    }
}
