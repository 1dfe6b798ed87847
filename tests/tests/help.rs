//! What tells a person how to use the commands: `--help`, the manual pages, the shells' completions, all from the real
//! binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use harness::Process;

/// Exit code, stdout, stderr.
async fn tgw(arguments: &[&str]) -> (i32, String, String) {
    let command = arguments.iter().fold(Process::of("tgw"), |command, argument| command.arg(argument));
    let mut process = command.start();
    let code = process.wait_exit().await;
    (code, process.stdout(), process.stderr())
}

/// The commands that a help text lists, with what it says of each.
fn listed(help: &str) -> Vec<(String, String)> {
    let commands =
        help.split("Commands:\n").nth(1).unwrap_or_default().split("\n\n").next().unwrap_or_default();
    // What goes on in the next line is indented further.
    let lines = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    lines
        .filter_map(|line| {
            let (name, about) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            (name != "help").then(|| (name.to_owned(), about.trim().to_owned()))
        })
        .collect()
}

#[tokio::test]
async fn the_first_page_names_every_command() {
    let (code, stdout, stderr) = tgw(&["--help"]).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let names: Vec<String> = listed(&stdout).into_iter().map(|(name, _)| name).collect();
    let all = [
        "run",
        "demo",
        "check",
        "doctor",
        "status",
        "top",
        "dead",
        "webhook",
        "spool",
        "route",
        "completions",
        "man",
    ];
    assert_eq!(names, all);
    assert!(stdout.contains("Exit codes: 0 done, 1 failed"), "{stdout}");
    assert!(stdout.lines().all(|line| line.chars().count() <= 100), "it is wrapped: {stdout}");
}

#[tokio::test]
async fn every_command_says_what_it_does_and_what_each_flag_is_for() {
    let mut left: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = 0;
    while let Some(path) = left.pop() {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let (code, stdout, stderr) = tgw(&arguments).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{path:?}");
        assert!(stdout.starts_with(|first: char| first.is_uppercase()), "{path:?}: {stdout}");
        for (name, about) in listed(&stdout) {
            assert!(!about.is_empty(), "{path:?} {name} has no word about it");
            left.push([path.as_slice(), &[name]].concat());
        }
        // `      --flag <VALUE>` and nothing behind it, also not in the next line.
        let mut lines = stdout.lines().peekable();
        while let Some(line) = lines.next() {
            let flag = line.trim_start();
            if flag.starts_with("--") && !flag.contains("  ") {
                let next = lines.peek().copied().unwrap_or_default();
                assert!(next.starts_with("          "), "{path:?}: {flag} has no help");
            }
        }
        seen += 1;
    }
    assert!(seen > 20, "{seen} commands");
}

#[tokio::test]
async fn what_is_mistyped_is_told_with_exit_code_2() {
    for (wrong, words) in [
        (&["webhok"][..], "a similar subcommand exists: 'webhook'"),
        (&["dead", "list", "--reson", "x"], "'--reason'"),
        (&["completions", "vi"], "possible values: bash"),
        (&["man", "--out", "no/such/folder"], "is no folder"),
        (&["spool"], "Usage: tgw spool"),
    ] {
        let (code, stdout, stderr) = tgw(wrong).await;
        assert_eq!((code, stdout.as_str()), (2, ""), "{wrong:?}");
        assert!(stderr.contains(words), "{wrong:?}: {stderr}");
    }
}

#[tokio::test]
async fn a_shell_completes_commands_and_flags() {
    let (code, script, _) = tgw(&["completions", "bash"]).await;
    assert_eq!(code, 0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tgw.bash");
    std::fs::write(&file, script).unwrap();
    let complete = |words: &str| {
        let ask = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _tgw tgw \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        let told = Command::new("bash").args(["-c", &ask]).output().unwrap();
        String::from_utf8(told.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("tgw sp"), "spool");
    assert_eq!(complete("tgw dead repl"), "replay");
    assert_eq!(complete("tgw spool list --li"), "--limit");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let (code, script, stderr) = tgw(&["completions", shell]).await;
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(script.contains("spool") && script.contains("data-dir"), "{shell}");
    }
}

#[tokio::test]
async fn every_command_and_program_has_a_manual_page() {
    let (code, page, _) = tgw(&["man"]).await;
    assert!(code == 0 && page.contains(".TH tgw 1") && page.contains("tgw\\-spool(1)"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, _) = tgw(&["man", "--out", folder.path().to_str().unwrap()]).await;
    assert_eq!((code, stdout.as_str()), (0, ""));
    for name in ["tgw", "tgw-run", "tgw-dead-replay", "tgw-spool-verify", "tgw-ingress", "tgw-worker"] {
        let page = std::fs::read_to_string(folder.path().join(format!("{name}.1"))).expect(name);
        assert!(page.contains(".SH SYNOPSIS"), "{name}");
    }
    let page = std::fs::read_to_string(folder.path().join("tgw-spool-list.1")).unwrap();
    assert!(page.contains("data\\-dir") && page.contains("DATA_DIR"), "{page}");
}
