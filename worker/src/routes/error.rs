//! What is wrong with a table, told so that the reader can go and mend it.

/// One line: where, what stands there, what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {}{expected}", self.subject())]
pub struct TableError {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// Empty where the error is not about one key.
    pub key: String,
    /// As it is written in the file, before variables are put in: those may be secrets.
    pub value: String,
    pub expected: String,
}

impl TableError {
    fn subject(&self) -> String {
        match (self.key.as_str(), self.value.as_str()) {
            ("", _) => String::new(),
            (key, "") => format!("{key}: "),
            (key, value) => format!("{key} = {value}: "),
        }
    }
}
