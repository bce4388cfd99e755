//! Finds the PostgreSQL programs of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::home::ClusterError;

/// Oldest PostgreSQL that speaks our SQL (`UNIQUE NULLS NOT DISTINCT`).
const OLDEST: u32 = 15;
/// Where Debian keeps them, one folder per major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A folder that holds `initdb` and `postgres` of one major version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binaries {
    pub(crate) folder: PathBuf,
    pub(crate) major: u32,
}

impl Binaries {
    /// `wanted` if given, else what `pg_config` says, else the newest of Debian's. A data directory
    /// that exists binds the choice to its `major`.
    pub(crate) fn find(wanted: Option<&Path>, major: Option<u32>) -> Result<Self, ClusterError> {
        let folders = match wanted {
            Some(folder) => vec![folder.to_owned()],
            None => pg_config().into_iter().chain(debian()).collect(),
        };
        let found: Vec<Self> = folders.iter().filter_map(|f| Self::look(f)).collect();
        let choice = match major {
            Some(major) => found.iter().find(|b| b.major == major),
            None => found.iter().find(|b| b.major >= OLDEST),
        };
        match (choice, found.first(), major) {
            (Some(binaries), ..) => Ok(binaries.clone()),
            (None, Some(other), Some(want)) => {
                Err(ClusterError::WrongVersion { want, have: other.major })
            }
            (None, Some(other), None) => {
                Err(ClusterError::TooOld { have: other.major, oldest: OLDEST })
            }
            (None, None, _) => Err(ClusterError::NoBinaries { looked: list(&folders) }),
        }
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn look(folder: &Path) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("-V").output().ok()?;
        let major = major_of(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { folder: folder.to_owned(), major })
    }
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` → 15.
fn major_of(line: &str) -> Option<u32> {
    let version = line.split("(PostgreSQL) ").nth(1)?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(folder.trim()))
}

/// Newest first.
fn debian() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

fn list(folders: &[PathBuf]) -> String {
    if folders.is_empty() {
        return DEBIAN.to_owned();
    }
    folders.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_postgres_prints() {
        let check = |line: &str, major: Option<u32>| assert_eq!(major_of(line), major, "{line}");
        check("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15));
        check("postgres (PostgreSQL) 18devel\n", Some(18));
        check("postgres\n", None);
    }

    #[test]
    fn missing_programs_are_refused_with_the_package_to_install() {
        let nowhere = Path::new("/nonexistent/bin");
        let error = Binaries::find(Some(nowhere), None).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/bin"), "{error}");
        assert!(error.contains("install the package `postgresql`"), "{error}");
    }

    #[test]
    fn a_cluster_of_another_version_is_refused() {
        let error = Binaries::find(None, Some(9)).unwrap_err();
        assert!(matches!(error, ClusterError::WrongVersion { want: 9, .. }), "{error}");
    }
}
