//! Where the private cluster lives on disk, whose it is, and that nobody else uses it.
//!
//! Layout under the program's data directory: `pg.lock` (held while a program uses the cluster,
//! with its process id), `pg/cluster` (PostgreSQL's own), `pg/run` (the socket), `pg/log`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Gid, Uid, User, chown, geteuid};
use tempfile::TempDir;
use tracing::info;

/// Longest path of a Unix socket, bytes: `sun_path` without its closing zero.
const SOCKET_PATH_MAX: usize = 107;
const SOCKET_FILE: &str = ".s.PGSQL.5432";
/// Where a cluster goes when root's data directory is closed to the user that PostgreSQL runs as.
const SYSTEM_HOME: &str = "/var/lib/smartline";

/// Why the private cluster can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(
        "PostgreSQL is not installed (looked in {looked}): install the package `postgresql` \
         (apt-get install postgresql), or name the folder of its programs in SMARTLINE_PG_BIN, \
         or a running server in DATABASE_URL"
    )]
    NoBinaries { looked: String },
    #[error("PostgreSQL {have} is too old: version {oldest} or newer is needed")]
    TooOld { have: u32, oldest: u32 },
    #[error("the data directory was made by PostgreSQL {want}, this machine has {have}")]
    WrongVersion { want: u32, have: u32 },
    #[error("{} is in use by another program (process {pid})", dir.display())]
    InUse { dir: PathBuf, pid: String },
    #[error(
        "PostgreSQL doesn't run as root and there is no user `postgres` to run it as: \
         install the package `postgresql`, or start as another user"
    )]
    NoUser,
    #[error("{} belongs to another user (uid {uid})", dir.display())]
    NotOurs { dir: PathBuf, uid: u32 },
    #[error("the socket's path is too long: {}", path.display())]
    SocketPath { path: PathBuf },
    #[error("can't {doing} {}: {source}", path.display())]
    Files { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("initdb failed: {0}")]
    Init(String),
    #[error("PostgreSQL didn't start: {0}")]
    Start(String),
}

impl ClusterError {
    pub(crate) fn files(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Files { doing, path, source }
    }
}

/// The user PostgreSQL runs as when the program is root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunAs {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The cluster's place, locked for this program until dropped.
pub(crate) struct Home {
    root: PathBuf,
    pub(crate) run_as: Option<RunAs>,
    socket: Socket,
    // Released by the kernel when the process ends, however it ends.
    _lock: Flock<File>,
}

enum Socket {
    Inside(PathBuf),
    /// The cluster's own path is too long for a socket.
    Elsewhere(TempDir),
}

impl Home {
    /// Takes the place, making what is missing.
    pub(crate) fn open(dir: &Path) -> Result<Self, ClusterError> {
        fs::create_dir_all(dir).map_err(ClusterError::files("create", dir))?;
        let dir = dir.canonicalize().map_err(ClusterError::files("find", dir))?;
        let lock = lock(&dir)?;
        let root = dir.join("pg");
        if !root.exists() {
            make_root(&dir, &root)?;
        }
        let root = root.canonicalize().map_err(ClusterError::files("find", &root))?;
        let run_as = run_as(&root)?;
        let socket = socket(&root, run_as)?;
        Ok(Self { root, run_as, socket, _lock: lock })
    }

    /// PostgreSQL's own directory; exists once `initdb` has succeeded.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.root.join("cluster")
    }

    /// Where `initdb` works until it has succeeded.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.root.join("cluster.new")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn socket_dir(&self) -> &Path {
        match &self.socket {
            Socket::Inside(path) => path,
            Socket::Elsewhere(dir) => dir.path(),
        }
    }

    /// The major version that made the cluster, if there is one.
    pub(crate) fn major(&self) -> Option<u32> {
        fs::read_to_string(self.cluster().join("PG_VERSION")).ok()?.trim().parse().ok()
    }
}

fn lock(dir: &Path) -> Result<Flock<File>, ClusterError> {
    let path = dir.join("pg.lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(ClusterError::files("open", &path))?;
    let mut pid = String::new();
    file.read_to_string(&mut pid).map_err(ClusterError::files("read", &path))?;
    let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| ClusterError::InUse { dir: dir.to_owned(), pid: pid.trim().to_owned() })?;
    lock.set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| write!(*lock, "{}", std::process::id()))
        .map_err(ClusterError::files("write", &path))?;
    Ok(lock)
}

fn make_root(dir: &Path, root: &Path) -> Result<(), ClusterError> {
    if !geteuid().is_root() {
        return make_dir(root, None);
    }
    let user = User::from_name("postgres").ok().flatten().ok_or(ClusterError::NoUser)?;
    let owner = RunAs { uid: user.uid.as_raw(), gid: user.gid.as_raw() };
    if dir.ancestors().all(|folder| may_pass(folder, owner)) {
        return make_dir(root, Some(owner));
    }
    // Root's own folders are closed to everybody else: the cluster lives in the system's place,
    // and a link says where.
    let system = Path::new(SYSTEM_HOME);
    fs::create_dir_all(system).map_err(ClusterError::files("create", system))?;
    let place = tempfile::Builder::new()
        .prefix("pg-")
        .permissions(closed())
        .tempdir_in(system)
        .map_err(ClusterError::files("create a folder in", system))?
        .keep();
    give(&place, owner)?;
    symlink(&place, root).map_err(ClusterError::files("link", root))?;
    info!(
        "{} is closed to user {}: the database lives in {}",
        dir.display(),
        user.name,
        place.display()
    );
    Ok(())
}

/// May this user pass through the folder on the way to something in it?
fn may_pass(folder: &Path, user: RunAs) -> bool {
    fs::metadata(folder).is_ok_and(|of| {
        let bit = match (of.uid() == user.uid, of.gid() == user.gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        of.mode() & bit != 0
    })
}

/// Nobody but its owner may look in: whoever reaches the socket is let in as anyone.
const CLOSED: u32 = 0o700;

fn closed() -> fs::Permissions {
    fs::Permissions::from_mode(CLOSED)
}

fn make_dir(path: &Path, owner: Option<RunAs>) -> Result<(), ClusterError> {
    fs::DirBuilder::new().mode(CLOSED).create(path).map_err(ClusterError::files("create", path))?;
    owner.map_or(Ok(()), |owner| give(path, owner))
}

fn give(path: &Path, owner: RunAs) -> Result<(), ClusterError> {
    chown(path, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
        .map_err(|errno| ClusterError::files("give away", path)(errno.into()))
}

/// The cluster's owner runs it: root steps down to him, anybody else must be him.
fn run_as(root: &Path) -> Result<Option<RunAs>, ClusterError> {
    let of = fs::metadata(root).map_err(ClusterError::files("look at", root))?;
    let me = geteuid();
    if me.is_root() && of.uid() != 0 {
        return Ok(Some(RunAs { uid: of.uid(), gid: of.gid() }));
    }
    if me.is_root() || of.uid() != me.as_raw() {
        return Err(ClusterError::NotOurs { dir: root.to_owned(), uid: of.uid() });
    }
    Ok(None)
}

fn socket(root: &Path, run_as: Option<RunAs>) -> Result<Socket, ClusterError> {
    let inside = root.join("run");
    if fits(&inside) {
        if !inside.exists() {
            make_dir(&inside, run_as)?;
        }
        return Ok(Socket::Inside(inside));
    }
    let dir = tempfile::Builder::new()
        .prefix("smartline-")
        .permissions(closed())
        .tempdir()
        .map_err(ClusterError::files("make a short folder for the socket of", root))?;
    if !fits(dir.path()) {
        return Err(ClusterError::SocketPath { path: dir.path().to_owned() });
    }
    if let Some(owner) = run_as {
        give(dir.path(), owner)?;
    }
    Ok(Socket::Elsewhere(dir))
}

fn fits(dir: &Path) -> bool {
    dir.join(SOCKET_FILE).as_os_str().as_bytes().len() <= SOCKET_PATH_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_of_108_bytes_is_too_long() {
        let dir = |length: usize| PathBuf::from(format!("/{}", "x".repeat(length - 1)));
        assert!(fits(&dir(107 - 1 - SOCKET_FILE.len())));
        assert!(!fits(&dir(108 - 1 - SOCKET_FILE.len())));
    }

    #[test]
    fn a_second_program_is_told_who_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        let error = lock(dir.path()).map(drop).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        lock(dir.path()).unwrap();
    }

    #[test]
    fn a_folder_of_mode_700_stops_others() {
        let dir = tempfile::Builder::new().permissions(closed()).tempdir().unwrap();
        let (me, other) = (geteuid().as_raw(), RunAs { uid: 60_000, gid: 60_000 });
        assert!(!may_pass(dir.path(), other));
        assert!(may_pass(dir.path(), RunAs { uid: me, gid: 60_000 }));
    }
}
