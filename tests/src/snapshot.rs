//! What a command of the real binary prints, with its exit code, held against a file of `tests/tests/snapshots`. What is
//! another one with each run (ports, times, ids, folders) is masked. `INSTA_UPDATE=always` writes the files anew: read the
//! difference before you commit it.

use crate::process::ProcessBuilder;

/// What is masked everywhere, and by what.
const MASKS: [(&str, &str); 13] = [
    (r#""(message_id|date|pid|update_bytes)": ?\d+"#, r#""$1": N"#),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"\b[0-9a-f]{16,}\b", "HEX"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\bt[0-9a-f]{12}\b", "PREFIX"),
    (r"\b1\d{9}\b", "BOT"),
    (r"/tmp/[^\s:,]*?(/data)?([/\s:,]|$)", "FOLDER$1$2"),
    (r"\d+(\.\d+)? (GiB|MiB|KiB|B)\b", "SIZE"),
    (r"(RabbitMQ|Redis) \d+\.\d+(\.\d+)?", "$1 VERSION"),
    (r"\b(\d+[dhm] )?\d+[smh] ago", "AGO"),
    (r"within \d+(\.\d+)? s", "within N s"),
    // A column is as wide as the longest of what is masked in it.
    (r"(\S)  +", "$1  "),
];

/// What a command did.
#[derive(Debug)]
pub struct Shot {
    pub line: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Shot {
    /// Calls it to its end; `arguments` is what the file shows of the call.
    pub async fn of(command: ProcessBuilder, arguments: &[&str]) -> Self {
        let mut process = command.start();
        let code = process.wait_exit().await;
        let line = ["tgw"].iter().chain(arguments).copied().collect::<Vec<_>>().join(" ");
        Self { line, code, stdout: process.stdout(), stderr: process.stderr() }
    }

    /// Only how its output begins: what is long changes with every flag.
    #[must_use]
    pub fn beginning(mut self, lines: usize) -> Self {
        let all = self.stdout.lines().count();
        let shown: String = self.stdout.lines().take(lines).map(|line| format!("{line}\n")).collect();
        if all > lines {
            self.stdout = format!("{shown}(and more)\n");
        }
        self
    }

    fn page(&self) -> String {
        let Self { line, code, stdout, stderr } = self;
        format!("$ {line}\nexit code {code}\n--- stdout\n{stdout}--- stderr\n{stderr}")
    }
}

/// Panics where these are not what the file `name` has; `masks` go before the usual ones.
pub fn assert_shots(name: &str, shots: &[Shot], masks: &[(&str, &str)]) {
    let text = shots.iter().map(Shot::page).collect::<Vec<_>>().join("\n");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../tests/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.remove_input_file();
    for (pattern, with) in masks.iter().chain(&MASKS) {
        settings.add_filter(pattern, *with);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}
