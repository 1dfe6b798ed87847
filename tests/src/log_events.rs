//! The lines of the log as the source has them: every call of tracing's macros in the product's crates, with the name
//! under which the log has it. Read as tokens, so that no comment and no text is taken for one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::catalogue::{LogEvent, project_file};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// A crate's folder, and how the log names it.
const CRATES: [(&str, &str); 4] =
    [("ingress", "ingress"), ("worker", "worker"), ("shared", "shared"), ("gateway", "tgw")];

/// Every line that the product can log. Panics where one is put together in a way that this can't read.
#[must_use]
pub fn events_in_source() -> Vec<LogEvent> {
    let mut events = Vec::new();
    for (folder, name) in CRATES {
        let root = project_file(folder).join("src");
        for file in rust_files(&root) {
            let text = std::fs::read_to_string(&file).expect("a file of the source");
            let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file:?}: {error}"));
            Reader {
                name: log_name(name, file.strip_prefix(&root).expect("in it")),
                file,
                events: &mut events,
            }
            .read(tokens);
        }
    }
    events
}

/// Without tests and what is made for fuzzing.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the source") {
        let path = entry.expect("an entry").path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        match path.is_dir() {
            true => files.extend(rust_files(&path)),
            false if path.extension().is_some_and(|end| end == "rs") => files.push(path),
            false => {}
        }
    }
    files
}

/// As `shared::telemetry` writes it: the module, without the file `events` in which a part has its words.
fn log_name(root: &str, file: &Path) -> String {
    let parts = file.iter().map(|part| part.to_str().expect("ASCII").trim_end_matches(".rs"));
    let parts = parts.filter(|part| !["mod", "lib", "main", "events"].contains(part));
    std::iter::once(root).chain(parts).collect::<Vec<_>>().join(".")
}

struct Reader<'a> {
    name: String,
    file: PathBuf,
    events: &'a mut Vec<LogEvent>,
}

impl Reader<'_> {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if is_test_module(&tokens[at..]) {
                // `#`, `[cfg(test)]`, `mod`, its name, its body.
                at += 5;
                continue;
            }
            match &tokens[at] {
                TokenTree::Ident(ident) if ident == "tracing" => at += self.read_call(&tokens[at..]),
                TokenTree::Group(group) => self.read(group.stream()),
                _ => {}
            }
            at += 1;
        }
    }

    /// How many tokens more than one were read.
    fn read_call(&mut self, tokens: &[TokenTree]) -> usize {
        let word = |at: usize| tokens.get(at).map(ToString::to_string).unwrap_or_default();
        if word(1) != ":" || word(2) != ":" {
            return 0;
        }
        let level = word(3);
        assert!(
            !matches!(level.as_str(), "{" | "event" | "span" | "*"),
            "{:?} logs in a way that the catalogue can't read: write tracing::level!(fields, \"words\")",
            self.file
        );
        let Some(TokenTree::Group(call)) = tokens.get(5).filter(|_| LEVELS.contains(&level.as_str())) else {
            return 0;
        };
        assert_eq!(word(4), "!", "{:?} uses tracing::{level} otherwise than by tracing::{level}!", self.file);
        let mut arguments = arguments(call.stream());
        let message = arguments.pop().and_then(|last| text_of(&last));
        let message = message.unwrap_or_else(|| panic!("{:?}: a line without fixed words", self.file));
        assert!(!message.contains('{'), "{:?}: words that are put together: {message}", self.file);
        let fields: BTreeSet<_> = arguments.iter().map(|field| field_of(field)).collect();
        self.events.push(LogEvent { message, level: level.to_uppercase(), name: self.name.clone(), fields });
        5
    }
}

/// `#[cfg(test)] mod name {…}`
fn is_test_module(tokens: &[TokenTree]) -> bool {
    match tokens {
        [TokenTree::Punct(hash), TokenTree::Group(cfg), TokenTree::Ident(module), ..] => {
            hash.as_char() == '#'
                && cfg.stream().to_string().replace(' ', "") == "cfg(test)"
                && module == "mod"
        }
        _ => false,
    }
}

fn arguments(tokens: TokenStream) -> Vec<Vec<TokenTree>> {
    let mut arguments = vec![Vec::new()];
    for token in tokens {
        match &token {
            TokenTree::Punct(comma) if comma.as_char() == ',' => arguments.push(Vec::new()),
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                panic!("no macro makes the source")
            }
            _ => arguments.last_mut().expect("never empty").push(token),
        }
    }
    arguments.retain(|argument| !argument.is_empty());
    arguments
}

fn text_of(argument: &[TokenTree]) -> Option<String> {
    let [TokenTree::Literal(literal)] = argument else { return None };
    let text = literal.to_string();
    let text = text.strip_prefix('"')?.strip_suffix('"')?;
    assert!(!text.contains('\\'), "no escapes in a line of the log: {text}");
    Some(text.to_owned())
}

/// `name`, `%name`, `?name`, or `name = …`.
fn field_of(argument: &[TokenTree]) -> String {
    let ident = argument.iter().find_map(|token| match token {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    });
    ident.expect("a field has a name")
}
