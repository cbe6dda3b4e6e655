//! A qhatu server of our own for a benchmark or a check: on a free port, stopped by its process id.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::import::binary;
use super::load;

/// A running server; dropping it stops it.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `qhatu serve` for the project in `project` and waits until it is ready.
    pub(crate) fn start(root: &Path, project: &Path) -> Result<Self, String> {
        let mut child = Command::new(binary(root))
            .args(["serve", "--port", "0", "--dir"])
            .arg(project)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start the server: {error}"))?;
        let stdout = child.stdout.take().expect("the pipe asked for above");
        let address = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("http://")?.1.split('/').next()?.trim().parse().ok());
        let Some(address) = address else {
            drop(child.kill());
            return Err("the server ended before it said where it listens".to_owned());
        };
        let server = Self { child, address };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&self) -> Result<(), String> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            if self.ask(&load::get("/readyz")).is_some_and(|(status, _)| status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("the server was not ready within 60 s".to_owned())
    }

    /// Sends one request over a connection of its own.
    pub(crate) fn ask(&self, request: &[u8]) -> Option<(u16, Vec<u8>)> {
        use std::io::Write;
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        stream.write_all(request).ok()?;
        load::answer(&mut BufReader::new(stream))
    }
}

impl Server {
    /// Asks it to end (SIGTERM); it must do so well within half a minute, and call it a success.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        match self.ended_within(Duration::from_secs(30)) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("the server ended with {status}")),
            None => Err("the server did not end on SIGTERM".to_owned()),
        }
    }

    fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        Command::new("kill").arg(self.child.id().to_string()).status().ok()?;
        while start.elapsed() < limit {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Server {
    /// SIGTERM, so that it drains; SIGKILL where that does not end it within ten seconds.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_)))
            || self.ended_within(Duration::from_secs(10)).is_some()
        {
            return;
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
