//! The services of examples/, run as their READMEs say, as far as a fresh Debian has what that takes: the tests have
//! Python's FastAPI and TypeScript's compiler from the distribution's packages.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::group::{Group, temporary_folder};
use crate::ports::free_port;
use crate::process::binary;
use crate::wait::{LONG, wait_for};

/// What a sample is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Python,
    TypeScript,
    Rust,
}

/// A running sample; it ends with this value.
#[derive(Debug)]
pub struct Sample {
    group: Group,
    folder: TempDir,
    port: u16,
    language: Language,
}

impl Language {
    /// Its folder, with the sample and the routing table that leads there.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        let name = match self {
            Self::Python => "python",
            Self::TypeScript => "typescript",
            Self::Rust => "rust",
        };
        root().join("examples").join(name)
    }

    /// What starts the service on that port, with what it compiles kept in `scratch`.
    fn command(self, port: u16, scratch: &Path) -> Command {
        match self {
            Self::Python => {
                // The distribution's own, which sees the distribution's packages.
                let mut command = Command::new("/usr/bin/python3");
                command.args(["-m", "uvicorn", "service:app", "--port", &port.to_string()]);
                command.current_dir(self.folder()).env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
            Self::TypeScript => {
                compile_typescript(&self.folder(), scratch);
                let mut command = Command::new("node");
                command.arg(scratch.join("service.js"));
                command
            }
            Self::Rust => Command::new(binary("tea-or-coffee")),
        }
    }
}

impl Sample {
    /// Starts the service, and waits until it listens.
    pub async fn start(language: Language, secret: &str) -> Self {
        let (port, folder) = (free_port(), temporary_folder("sample"));
        let mut command = language.command(port, folder.path());
        command.env("VOTES_SECRET", secret).env("PORT", port.to_string());
        let log =
            || File::options().create(true).append(true).open(folder.path().join("log")).expect("a log");
        let group = Group::spawn(command.stdout(log()).stderr(log()));
        let mut sample = Self { group, folder, port, language };
        wait_for("the sample listens, or has ended", LONG, || {
            let ended = sample.group.exited().is_some();
            async move { (ended || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).then_some(()) }
        })
        .await;
        assert!(sample.group.exited().is_none(), "the sample in {language:?} ended: {}", sample.log());
        sample
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/ask", self.port)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of the sample in {:?}\n{}", self.language, self.log());
        }
    }
}

/// As the sample's tsconfig.json says; the types of Node.js, which `npm install` would bring, are our own.
fn compile_typescript(sample: &Path, to: &Path) {
    let mut compiler = Command::new("tsc");
    compiler.args(["--strict", "--noUnusedLocals", "--target", "ES2022", "--lib", "ES2022"]);
    compiler.args(["--module", "ES2022", "--moduleResolution", "node", "--outDir"]).arg(to);
    compiler.arg(sample.join("service.ts")).arg(root().join("tests/typescript/node.d.ts")).current_dir(to);
    let compiled = compiler.output().expect("tsc, of Debian's node-typescript");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    // It says that these are modules.
    std::fs::copy(sample.join("package.json"), to.join("package.json")).expect("the sample's package.json");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
