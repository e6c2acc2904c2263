//! The gateway that is measured: started here with a configuration of its own, or one that runs.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::http::Http;

/// How long a start and an end may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a gateway is started with.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Setup {
    /// The gateway's binary; without it the one beside this program.
    #[arg(long)]
    handback: Option<PathBuf>,
    /// `memory://` or `sqlite`.
    #[arg(long, default_value = "memory://")]
    store: String,
    /// The loopback address of the gateway.
    #[arg(long, default_value = "127.0.0.1")]
    gateway_ip: IpAddr,
    /// The loopback address of the callers.
    #[arg(long, default_value = "127.0.0.2")]
    own_ip: Ipv4Addr,
    /// The ports of the gateway's media: four for each call.
    #[arg(long, default_value = "10000-59999")]
    media_ports: String,
    /// `limits.calls_per_second`.
    #[arg(long, default_value_t = 100_000)]
    calls_per_second: u32,
    /// `limits.calls` and the trunk's.
    #[arg(long, default_value_t = 12_000)]
    max_calls: u32,
    /// Keep the folder with the configuration and the log.
    #[arg(long)]
    keep: bool,
    /// SIP address of a gateway that runs already; the options below go with it.
    #[arg(long, requires_all = ["api", "admin", "pid", "key", "secret"])]
    sip: Option<SocketAddrV4>,
    /// Its API.
    #[arg(long)]
    api: Option<SocketAddr>,
    /// Its admin listener.
    #[arg(long)]
    admin: Option<SocketAddr>,
    /// Its process.
    #[arg(long)]
    pid: Option<u32>,
    /// An API key of it.
    #[arg(long)]
    key: Option<String>,
    /// The key's secret.
    #[arg(long)]
    secret: Option<String>,
}

impl Setup {
    /// A free port on the address of an account's callers: a source belongs to one trunk.
    pub(crate) fn own(&self, account: usize) -> SocketAddr {
        SocketAddr::new(self.own_ip_of(account).into(), 0)
    }

    /// A free address for an agent.
    pub(crate) fn free_address(&self) -> io::Result<SocketAddr> {
        let port = free_ports(self.gateway_ip, 1)?;
        Ok(SocketAddr::new(
            self.gateway_ip,
            port.first().copied().unwrap_or(0),
        ))
    }

    fn own_ip_of(&self, account: usize) -> Ipv4Addr {
        let offset = u32::try_from(account).unwrap_or(0);
        Ipv4Addr::from_bits(self.own_ip.to_bits().wrapping_add(offset))
    }
}

/// A running gateway.
pub(crate) struct Gateway {
    child: Option<Child>,
    pid: u32,
    pub(crate) sip: SocketAddrV4,
    api: SocketAddr,
    admin: SocketAddr,
    secret: String,
    /// The API keys, one for each account, in order.
    keys: Vec<String>,
    folder: Option<PathBuf>,
    keep: bool,
}

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident_kb: u64,
}

impl Gateway {
    /// Starts one with an account for each of the hooks, or takes the one that runs.
    pub(crate) fn start(setup: &Setup, hooks: &[String]) -> io::Result<Self> {
        if let (Some(sip), Some(api), Some(admin), Some(pid)) =
            (setup.sip, setup.api, setup.admin, setup.pid)
        {
            return Ok(Self {
                child: None,
                pid,
                sip,
                api,
                admin,
                secret: setup.secret.clone().unwrap_or_default(),
                keys: setup.key.clone().into_iter().collect(),
                folder: None,
                keep: true,
            });
        }
        Self::spawn(setup, hooks)
    }

    fn spawn(setup: &Setup, hooks: &[String]) -> io::Result<Self> {
        let binary = match &setup.handback {
            Some(binary) => fs::canonicalize(binary)?,
            None => std::env::current_exe()?.with_file_name("handback"),
        };
        let folder = std::env::temp_dir().join(format!("rtpload-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let (secret, hash) = secret_of(&binary)?;
        let ports = free_ports(setup.gateway_ip, 3)?;
        let address =
            |n: usize| SocketAddr::new(setup.gateway_ip, ports.get(n).copied().unwrap_or(0));
        let (sip, api, admin) = (address(0), address(1), address(2));
        let text = configuration(setup, &folder, (sip, api, admin), hooks, &hash);
        let file = folder.join("gateway.toml");
        fs::write(&file, text)?;
        let log = fs::File::create(folder.join("gateway.log"))?;
        let child = Command::new(&binary)
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let SocketAddr::V4(sip) = sip else {
            return Err(io::Error::other("the gateway's address must be of IPv4"));
        };
        let mut gateway = Self {
            pid: child.id(),
            child: Some(child),
            sip,
            api,
            admin,
            secret,
            keys: (0..hooks.len()).map(|n| format!("load-{n}")).collect(),
            folder: Some(folder),
            keep: setup.keep,
        };
        gateway.await_ready()?;
        Ok(gateway)
    }

    fn await_ready(&mut self) -> io::Result<()> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                self.keep = true;
                return Err(io::Error::other(format!(
                    "the gateway ended with {status}: see {:?}",
                    self.folder
                )));
            }
            let ready = Http::connect(self.admin, "").and_then(|mut http| http.get("/readyz"));
            if matches!(ready, Ok((200, _))) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(io::Error::other("the gateway does not become ready"))
    }

    pub(crate) fn usage(&self) -> io::Result<Usage> {
        usage_of(self.pid)
    }

    /// The page of metrics.
    pub(crate) fn metrics(&self) -> io::Result<String> {
        Ok(Http::connect(self.admin, "")?.get("/metrics")?.1)
    }

    /// Lines at WARN or above in its log.
    pub(crate) fn warnings(&self) -> usize {
        let log = self
            .folder
            .as_ref()
            .map(|folder| folder.join("gateway.log"));
        let text = log
            .and_then(|log| fs::read_to_string(log).ok())
            .unwrap_or_default();
        let loud = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
        text.lines().filter(loud).count()
    }

    /// A connection to the API as an account.
    pub(crate) fn api(&self, account: usize) -> io::Result<Http> {
        let key = self.keys.get(account).map_or("", String::as_str);
        let headers = format!(
            "asapp-api-id: {key}\r\nasapp-api-secret: {}\r\n",
            self.secret
        );
        Http::connect(self.api, &headers)
    }

    /// Registers transfers `PREFIX-0`, `PREFIX-1`, … of an account, on several connections at once.
    pub(crate) fn register(&self, account: usize, prefix: &str, count: usize) -> io::Result<()> {
        const CONNECTIONS: usize = 16;
        let connections = CONNECTIONS.min(count.max(1));
        thread::scope(|scope| {
            let workers = (0..connections).map(|first| {
                scope.spawn(move || {
                    let mut api = self.api(account)?;
                    for n in (first..count).step_by(connections) {
                        register_one(&mut api, &format!("{prefix}-{n}"))?;
                    }
                    Ok::<(), io::Error>(())
                })
            });
            let workers: Vec<_> = workers.collect();
            for worker in workers {
                worker
                    .join()
                    .map_err(|_| io::Error::other("a worker panicked"))??;
            }
            Ok(())
        })
    }

    /// A transfer as the API shows it.
    pub(crate) fn transfer(&self, account: usize, id: &str) -> io::Result<String> {
        let (status, body) = self
            .api(account)?
            .get(&format!("/generativeagent/v1/call-transfers/{id}"))?;
        if status == 200 {
            Ok(body)
        } else {
            Err(io::Error::other(format!(
                "{status} for the transfer {id}: {body}"
            )))
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            end(&mut child);
        }
        if let Some(folder) = self.folder.take() {
            if self.keep {
                crate::say(format_args!("kept: {}", folder.display()));
            } else {
                let _ = fs::remove_dir_all(folder);
            }
        }
    }
}

/// Asks a process of ours to end, and ends it when it does not.
pub(crate) fn end(child: &mut Child) {
    signal(child.id(), Signal::SIGTERM);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// CPU time (user and system) and resident memory, from /proc.
pub(crate) fn usage_of(pid: u32) -> io::Result<Usage> {
    /// Linux counts in hundredths of a second for everybody to see (USER_HZ).
    const TICK: Duration = Duration::from_millis(10);
    let odd = || io::Error::other("/proc is not as expected");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // behind the name, which may hold blanks: the state is field 3
    let fields = stat.rsplit(") ").next().ok_or_else(odd)?;
    let ticks = |at: usize| {
        fields
            .split(' ')
            .nth(at)
            .and_then(|it| it.parse::<u32>().ok())
    };
    let (user, system) = ticks(11).zip(ticks(12)).ok_or_else(odd)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|it| it.trim().split(' ').next()?.parse().ok());
    Ok(Usage {
        cpu: TICK * (user + system),
        resident_kb: resident.ok_or_else(odd)?,
    })
}

fn register_one(api: &mut Http, id: &str) -> io::Result<()> {
    let body = format!(
        r#"{{"id":"{id}","externalConversationId":"of-{id}","type":"SIP","sip":{{"returnTransferType":"BYE"}},"inputContext":{{"taskName":"load"}}}}"#
    );
    let (status, answer) = api.post("/generativeagent/v1/call-transfers", &body)?;
    if status == 200 || status == 201 {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "{status} to the registration of {id}: {answer}"
        )))
    }
}

/// A fresh pair of the gateway's own making.
fn secret_of(binary: &Path) -> io::Result<(String, String)> {
    let printed = Command::new(binary).arg("secret").output()?;
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    let value = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::to_owned)
            .ok_or_else(|| io::Error::other("handback secret prints no such line"))
    };
    Ok((value("secret: ")?, value("secret_hash: ")?))
}

/// Ports that nothing listens on; they are held until all are found.
fn free_ports(ip: IpAddr, count: usize) -> io::Result<Vec<u16>> {
    let held = (0..count).map(|_| TcpListener::bind((ip, 0)));
    let held = held.collect::<io::Result<Vec<_>>>()?;
    held.iter().map(|it| Ok(it.local_addr()?.port())).collect()
}

fn configuration(
    setup: &Setup,
    folder: &Path,
    (sip, api, admin): (SocketAddr, SocketAddr, SocketAddr),
    hooks: &[String],
    hash: &str,
) -> String {
    let Setup {
        gateway_ip,
        media_ports,
        calls_per_second,
        max_calls,
        ..
    } = setup;
    let store = match setup.store.as_str() {
        "sqlite" => format!("sqlite://{}", folder.join("load.db").display()),
        other => other.to_owned(),
    };
    let mut text = format!(
        "[node]\nname = \"load\"\n[sip]\nlisten = [\"udp://{sip}\"]\n[media]\nlisten = \"{gateway_ip}\"\n\
         ports = \"{media_ports}\"\n[api]\nlisten = \"{api}\"\nrate_limit = 1000000\n[admin]\nlisten = \"{admin}\"\n\
         [store]\nurl = \"{store}\"\n[transfer]\ntime_to_live = \"2h\"\n\
         [limits]\ncalls = {max_calls}\ncalls_per_second = {calls_per_second}\n"
    );
    for (n, hook) in hooks.iter().enumerate() {
        let from = setup.own_ip_of(n);
        let _ = write!(
            text,
            "[[account]]\nid = \"load-{n}\"\nreturn_transfer_type = \"BYE\"\nhook = \"{hook}\"\n\
             [[account.api_key]]\nid = \"load-{n}\"\nsecret_hash = '{hash}'\n\
             [[account.trunk]]\nname = \"trunk-{n}\"\nallow = [\"{from}\"]\nmax_calls = {max_calls}\n"
        );
    }
    text
}
