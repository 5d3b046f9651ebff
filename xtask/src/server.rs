//! Servers that the tasks start: this project's, and those that it is compared with.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// A running server. It is killed when this value is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Kept open, since a server may end if it cannot write.
    _output: Option<BufReader<std::process::ChildStdout>>,
}

/// Memory of a process and its descendants, in megabytes (10^6 bytes).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    /// Resident now. Pages that several processes share count for each of them.
    pub(crate) resident: f64,
    /// Proportional now: a shared page counts in shares.
    pub(crate) proportional: f64,
    /// The sum of each process's highest resident memory.
    pub(crate) peak: f64,
}

impl Server {
    /// Starts a server and waits for its line `listening on http://ADDRESS` on stdout.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut output = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut server = Self {
            child,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            _output: None,
        };
        let mut line = String::new();
        output.read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on http://");
        let address =
            address.with_context(|| format!("{name} does not listen; its output is above"))?;
        server.address = address.parse()?;
        server._output = Some(output);
        Ok(server)
    }

    /// Starts a server that listens at this address some time later.
    pub(crate) fn start_at(mut command: Command, address: SocketAddr) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            child,
            address,
            _output: None,
        })
    }

    /// Fails if the server has ended.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the server ended early: {status}; its output is above"),
            None => Ok(()),
        }
    }

    /// The memory of the server and the processes that it has started.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let mut sum = Memory::default();
        for process in tree(self.child.id())? {
            let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}"));
            let status = read("status").context("memory is known only on Linux")?;
            sum.resident += megabytes(&status, "VmRSS:").context("no VmRSS")?;
            sum.peak += megabytes(&status, "VmHWM:").context("no VmHWM")?;
            sum.proportional += megabytes(&read("smaps_rollup")?, "Pss:").context("no Pss")?;
        }
        Ok(sum)
    }

    /// Sends a signal by its name, such as TERM.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let (signal, process) = (format!("-{name}"), self.child.id().to_string());
        crate::shell::output(Command::new("kill").args([signal, process]))?;
        Ok(())
    }

    /// Ends the server with SIGTERM. Fails if its exit code is not 0.
    pub(crate) fn stop(self) -> Result<()> {
        self.signal("TERM")?;
        self.ended()
    }

    /// Waits for the end of a server that has got a signal. Fails if its exit code is not 0.
    pub(crate) fn ended(mut self) -> Result<()> {
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

/// Kills the process and its descendants, so that none stays.
impl Drop for Server {
    fn drop(&mut self) {
        // All of this fails only if the processes have already ended.
        let processes = match self.child.try_wait() {
            Ok(None) => tree(self.child.id()).unwrap_or_default(),
            _ => Vec::new(),
        };
        if !processes.is_empty() {
            let processes = processes.iter().map(u32::to_string);
            let _ = Command::new("kill").arg("-KILL").args(processes).output();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?)
}

/// A process and its descendants.
fn tree(root: u32) -> Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").context("memory is known only on Linux")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may have ended since.
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else {
            continue;
        };
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children.remove(process).unwrap_or_default());
        next += 1;
    }
    Ok(found)
}

/// The parent's number in /proc/PID/stat. The name before it may contain blanks and brackets.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// An entry of a file of /proc that is given in kB, in megabytes (10^6 bytes).
pub(crate) fn megabytes(text: &str, entry: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(entry))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// Says that it listens, and waits for a process of its own.
    const LISTEN: &str = "tail -f /dev/null & echo listening on http://127.0.0.1:81; wait";

    #[test]
    fn a_server_says_where_it_listens_and_ends_on_sigterm() {
        let start =
            |code: u8| Server::start(sh(&format!("trap 'kill $!; exit {code}' TERM; {LISTEN}")));
        let server = start(0).unwrap();
        assert_eq!(server.address, ([127, 0, 0, 1], 81).into());
        server.stop().unwrap();
        assert!(start(3).unwrap().stop().is_err());
        assert!(Server::start(sh("echo hello")).is_err());
        assert!(Server::start(sh("exit 1")).is_err());
    }

    #[test]
    fn memory_counts_descendants() {
        let server = Server::start(sh(LISTEN)).unwrap();
        let all = server.memory().unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
        let own = megabytes(&status, "VmRSS:").unwrap();
        assert!(
            all.peak >= all.resident && all.resident > own,
            "{all:?} {own}"
        );
        assert!(
            all.proportional > 0.0 && all.proportional <= all.resident,
            "{all:?}"
        );
    }

    #[test]
    fn entries_of_proc_are_read() {
        assert_eq!(parent("81 (a (b) c) S 7 81 0"), Some(7));
        assert_eq!(parent("81 S 7"), None);
        let text = "VmHWM:\t    2500 kB\nPss:  1000 kB\nVmRSS: x kB\n";
        assert_eq!(megabytes(text, "VmHWM:"), Some(2.56));
        assert_eq!(megabytes(text, "Pss:"), Some(1.024));
        assert_eq!(megabytes(text, "VmRSS:"), None);
        assert_eq!(megabytes(text, "VmSize:"), None);
    }
}
