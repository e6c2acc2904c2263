//! A PostgreSQL server of the tests' own: in a temporary folder, on a socket there, gone at the end.
#![allow(dead_code, clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Folder;

/// How long it may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    process: Child,
    programs: PathBuf,
    folder: Folder,
}

impl Server {
    pub(crate) fn start() -> Self {
        let programs = programs();
        let folder = Folder::new();
        let (data, sockets) = (folder.file("data"), folder.file("sockets"));
        std::fs::create_dir(&data).unwrap();
        std::fs::create_dir(&sockets).unwrap();
        for path in [&folder.file(""), &data, &sockets] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
        if let Some((user, group)) = unprivileged() {
            std::os::unix::fs::chown(&data, Some(user), Some(group)).unwrap();
            std::os::unix::fs::chown(&sockets, Some(user), Some(group)).unwrap();
        }
        let made = program(&programs, "initdb", &folder.file(""))
            .args([
                "--auth=trust",
                "--no-sync",
                "--username=handback",
                "--encoding=UTF8",
                "-D",
            ])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {made:?}");
        let process = program(&programs, "postgres", &folder.file(""))
            .args([
                "-c",
                "fsync=off",
                "-c",
                "listen_addresses=",
                "-c",
                "max_connections=200",
            ])
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&sockets)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            process,
            programs,
            folder,
        };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let until = Instant::now() + START;
        while !self.run("psql", &["-qc", "SELECT 1", "postgres"]).0 {
            assert!(Instant::now() < until, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs one of PostgreSQL's programs against the server: whether it succeeded, and what it said.
    pub(crate) fn run(&self, name: &str, arguments: &[&str]) -> (bool, String) {
        let ran = program(&self.programs, name, &self.folder.file(""))
            .args(["-U", "handback", "-h"])
            .arg(self.folder.file("sockets"))
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        (ran.status.success(), said)
    }

    /// A new database, and its URL.
    pub(crate) fn database(&self, name: &str) -> String {
        let (made, said) = self.run("createdb", &[name]);
        assert!(made, "{said}");
        self.url(name)
    }

    pub(crate) fn url(&self, name: &str) -> String {
        let sockets = self.folder.file("sockets");
        format!(
            "postgres://handback@localhost/{name}?host={}",
            sockets.display()
        )
    }

    /// Stops and continues every process of the server, as a machine that is stuck does.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let children = Command::new("pgrep").args(["-P", &pid]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        let all = std::iter::once(pid.as_str()).chain(children.split_whitespace());
        let sent = Command::new("kill").arg(signal).args(all).output().unwrap();
        assert!(sent.status.success() || signal != "-STOP", "{sent:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal("-CONT");
        self.signal("-QUIT");
        drop(self.process.wait());
    }
}

fn program(programs: &Path, name: &str, folder: &Path) -> Command {
    let mut command = Command::new(programs.join(name));
    command.current_dir(folder);
    if let Some((user, group)) = unprivileged() {
        command.uid(user).gid(group);
    }
    command
}

/// PostgreSQL does not run as root: then the package's own user is taken.
fn unprivileged() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> u32 {
        let id = Command::new("id").args(arguments).output().unwrap();
        let missing = "the user postgres is missing; apt-get install postgresql";
        let text = String::from_utf8(id.stdout).unwrap();
        text.trim().parse().unwrap_or_else(|_| panic!("{missing}"))
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

/// Debian keeps the programs out of the PATH, one folder for each version.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut found: Vec<PathBuf> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|programs| programs.join("initdb").exists())
        .collect();
    found.sort();
    let in_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())
    };
    let missing =
        "PostgreSQL is not installed: apt-get install postgresql (or put initdb into the PATH)";
    found.pop().or_else(in_path).expect(missing)
}
