//! A runner: a program that takes steps on command. It prints `ready` when it has started. It
//! answers `run K` with the seconds that K steps took, and ends at `quit`. Some runners answer
//! further questions.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::server::megabytes;

pub(super) struct Runner {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    name: String,
}

impl Runner {
    pub(super) fn start(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let commands = child.stdin.take().context("no stdin")?;
        let answers = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut runner = Self {
            child,
            commands,
            answers,
            name,
        };
        let greeting = runner.answer()?;
        ensure!(
            greeting == "ready",
            "{}: expected `ready`, got {greeting:?}",
            runner.name
        );
        Ok(runner)
    }

    /// Takes `count` steps and returns the time in seconds.
    pub(super) fn steps(&mut self, count: usize) -> Result<f64> {
        self.ask(&format!("run {count}"))
    }

    /// Sends a line and returns the answer, which must be a positive number.
    pub(super) fn ask(&mut self, line: &str) -> Result<f64> {
        writeln!(self.commands, "{line}")
            .with_context(|| format!("{} does not listen", self.name))?;
        let answer = self.answer()?;
        match answer.parse::<f64>() {
            Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
            _ => bail!("{}: {line}: expected a number, got {answer:?}", self.name),
        }
    }

    /// Peak memory of the process so far, in megabytes (10^6 bytes).
    pub(super) fn peak_megabytes(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path)
            .with_context(|| format!("{path}: peak memory is known only on Linux"))?;
        peak_megabytes(&status).with_context(|| format!("{path} has no VmHWM in kB"))
    }

    pub(super) fn quit(mut self) -> Result<()> {
        writeln!(self.commands, "quit")
            .with_context(|| format!("{} does not listen", self.name))?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{}: {status}", self.name);
        Ok(())
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() {
            bail!("{} ended early; its output is above", self.name);
        }
        Ok(line.trim().to_owned())
    }
}

/// The peak of resident memory, from the text of /proc/PID/status.
fn peak_megabytes(status: &str) -> Option<f64> {
    megabytes(status, "VmHWM:")
}

/// Kills the process, so that it does not keep computing after an error.
impl Drop for Runner {
    fn drop(&mut self) {
        // Both calls fail only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn start(script: &str) -> Result<Runner> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Runner::start(command)
    }

    fn error<T>(result: Result<T>) -> String {
        let error = result.err().expect("it should have failed");
        error.to_string()
    }

    #[test]
    fn a_program_that_breaks_the_protocol_is_named() {
        assert!(error(start("exit 1")).contains("sh ended early"));
        assert!(error(start("echo hello")).contains("expected `ready`, got \"hello\""));
        for answer in ["soon", "-1", "0", "NaN"] {
            let mut runner =
                start(&format!("echo ready; read line; echo {answer}; read line")).unwrap();
            assert!(error(runner.steps(1)).contains(answer), "{answer}");
        }
        let runner = start("echo ready; read line; exit 3").unwrap();
        assert!(error(runner.quit()).contains('3'));
        assert!(
            error(Runner::start(Command::new("/no/such/program"))).contains("/no/such/program")
        );
    }

    #[test]
    fn the_peak_is_read_in_megabytes() {
        let status = "Name:\tsh\nVmPeak:\t 9 kB\nVmHWM:\t    2500 kB\nVmRSS:\t 8 kB\n";
        assert_eq!(peak_megabytes(status), Some(2.56));
        for wrong in ["", "VmHWM: x kB", "VmHWM: 3 MB"] {
            assert_eq!(peak_megabytes(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn steps_are_asked_for_and_answered() {
        let mut runner = start("echo ready; read a b; echo $b.5; read a; test $a = quit").unwrap();
        assert_eq!(runner.steps(7).unwrap(), 7.5);
        runner.quit().unwrap();
    }
}
