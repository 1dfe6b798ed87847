//! One thing that was looked at, how it is, and what to do about it.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[serde(rename = "ok")]
    Well,
    /// It works, and somebody should see to it.
    #[serde(rename = "warning")]
    Worth,
    #[serde(rename = "wrong")]
    Wrong,
}

#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub state: State,
    pub what: String,
    /// Nothing where it is well.
    pub advice: Option<String>,
}

impl Finding {
    pub fn well(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Well, what: what.into(), advice: None }
    }

    pub fn worth(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Worth, what: what.into(), advice: Some(advice.into()) }
    }

    pub fn wrong(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Wrong, what: what.into(), advice: Some(advice.into()) }
    }

    /// For a person.
    pub fn lines(&self) -> Vec<String> {
        let state = match self.state {
            State::Well => "ok",
            State::Worth => "warning",
            State::Wrong => "WRONG",
        };
        let mut lines = vec![format!("{:<12}{state:<9}{}", self.check, self.what)];
        lines.extend(self.advice.iter().map(|advice| format!("{:21}-> {advice}", "")));
        lines
    }
}
