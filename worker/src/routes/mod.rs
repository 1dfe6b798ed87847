//! The routing table: which update goes where (contract 5). Data, not code: a TOML file is read and checked
//! whole (`parse`), turned into an index (`index`), and asked once per update. No file is opened here and
//! no service is called.

pub mod auth;
#[cfg(test)]
mod commands;
mod conditions;
mod error;
mod index;
mod language;
#[cfg(test)]
mod large;
#[cfg(test)]
mod matching;
mod parse;
mod patterns;
mod reader;
mod reply;
mod route;
mod service;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod values;

use std::collections::{BTreeMap, BTreeSet};

pub use error::TableError;
pub use service::ServiceConfig;

use crate::incoming::{ChatKind, Incoming};
use index::Index;
use route::{Route, To};

/// The services that need no section of their own: their URLs are settings.
pub const BUILTIN_SERVICES: [&str; 4] = ["conversation", "matching", "notification", "user_profile"];

/// What a text's route is called when a service asked for the user's next texts (`sticky`).
pub const STICKY_ROUTE: &str = "sticky";

/// A checked table. Never changes: a reload makes a new one.
#[derive(Debug, Default)]
pub struct Table {
    routes: Vec<Route>,
    index: Index,
    services: BTreeMap<String, ServiceConfig>,
}

/// The route of one update.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'t> {
    /// The route's `name`, or made of its conditions: `command:/start`. From the table alone, so it is fit
    /// for a metric's label.
    pub route: &'t str,
    pub target: Target<'t>,
    /// What was pressed: the callback's prefix.
    pub action: Option<String>,
    /// What stood after the prefix and its colon.
    pub param: Option<String>,
}

impl Found<'_> {
    /// Whether it wants the parts of an album as one.
    pub fn takes_albums(&self) -> bool {
        matches!(self.target, Target::Service { album: true, .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'t> {
    Service {
        service: &'t str,
        shape: Shape,
        with_update: bool,
        /// The parts of an album are handed over as one.
        album: bool,
    },
    /// A fixed text of the table.
    Reply(&'t str),
}

/// Which of contract 4's bodies a service is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Conversation,
    Matching,
    UserProfile,
    Notification,
    Own,
}

impl Table {
    /// The table that is used without a file.
    pub fn builtin() -> Self {
        // That it has no errors is held by a test.
        Self::parse(include_str!("builtin.toml"), "builtin", &|_| None).unwrap_or_default()
    }

    /// Reads a table and finds all that is wrong with it, not just the first thing. `env` looks up the
    /// `${VARIABLES}`; `file_name` is for the errors.
    pub fn parse(
        toml: &str,
        file_name: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<TableError>> {
        let (routes, services) = parse::parse(toml, file_name, env)?;
        let index = Index::new(&routes);
        Ok(Self { routes, index, services })
    }

    /// The names of the services that routes send to: each needs a URL.
    pub fn services_used(&self) -> BTreeSet<&str> {
        let service = |route: &'_ Route| match &route.to {
            To::Service { service, .. } => Some(service.clone()),
            To::Reply(_) => None,
        };
        let used: BTreeSet<String> = self.routes.iter().filter_map(service).collect();
        self.known_services().filter(|name| used.contains(*name)).collect()
    }

    /// What the file says of a service; of a built-in one it may say nothing.
    pub fn service(&self, name: &str) -> Option<&ServiceConfig> {
        self.services.get(name)
    }

    /// Every service that a route or a `sticky` may name.
    pub fn known_services(&self) -> impl Iterator<Item = &str> {
        let own = self.services.keys().map(String::as_str).filter(|name| !BUILTIN_SERVICES.contains(name));
        BUILTIN_SERVICES.into_iter().chain(own)
    }

    /// The route of an update, or none.
    pub fn find(&self, incoming: &Incoming, bot_username: Option<&str>) -> Option<Found<'_>> {
        self.find_with_sticky(incoming, bot_username, None)
    }

    /// Like `find`, for a user whose free texts in this chat go to the service `sticky` for now: after
    /// commands, before text patterns (contract 4). A service that the table does not know is passed over.
    ///
    /// A command for another bot has no route at all, not even as a text. A command that no route names is
    /// a text like any other: people write `/shrug`, and a conversation can answer that.
    pub fn find_with_sticky(
        &self,
        incoming: &Incoming,
        bot_username: Option<&str>,
        sticky: Option<&str>,
    ) -> Option<Found<'_>> {
        if is_anothers(incoming, bot_username) {
            return None;
        }
        self.index
            .find_pressed_or_commanded(&self.routes, incoming)
            .or_else(|| self.sticky_route(incoming, sticky?))
            .or_else(|| self.index.find_other(&self.routes, incoming))
    }

    /// Whether a sticky service takes it, where one is set: a free text that is no command of a row's or of another bot's.
    pub fn is_for_sticky(&self, incoming: &Incoming, bot_username: Option<&str>) -> bool {
        incoming.is_free_text()
            && !is_anothers(incoming, bot_username)
            && self.index.find_pressed_or_commanded(&self.routes, incoming).is_none()
    }

    /// Whether a `sticky` may name that service.
    pub fn knows(&self, service: &str) -> bool {
        self.known_services().any(|known| known == service)
    }

    /// The kinds of update that rows ask for by name; a row for any kind asks for none.
    pub fn kinds(&self) -> BTreeSet<&str> {
        self.routes.iter().filter_map(|row| row.when.effective_kind()).collect()
    }

    /// The names of all rows that fit, the best first.
    pub fn fitting(&self, incoming: &Incoming) -> Vec<&str> {
        let mut rows: Vec<&Route> = self.routes.iter().filter(|row| row.would_take(incoming)).collect();
        rows.sort_by_key(|row| row.rank());
        let mut labels: Vec<&str> = rows.into_iter().map(|row| row.label.as_str()).collect();
        // A row of several languages can fit by two of them.
        labels.dedup();
        labels
    }

    fn sticky_route(&self, incoming: &Incoming, sticky: &str) -> Option<Found<'_>> {
        if !incoming.is_free_text() {
            return None;
        }
        let service = self.known_services().find(|name| *name == sticky)?;
        let target = Target::Service { service, shape: Shape::of(service), with_update: false, album: false };
        Some(Found { route: STICKY_ROUTE, target, action: None, param: None })
    }
}

/// Whether it is a command for another bot.
fn is_anothers(incoming: &Incoming, bot_username: Option<&str>) -> bool {
    let private = incoming.chat_kind() == ChatKind::Private;
    incoming.command.as_ref().is_some_and(|command| !command.is_for(bot_username, private))
}

impl Shape {
    /// The body that a service takes if its route does not say otherwise.
    pub fn of(service: &str) -> Self {
        Self::named(service).unwrap_or(Self::Own)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "conversation" => Some(Self::Conversation),
            "matching" => Some(Self::Matching),
            "user_profile" => Some(Self::UserProfile),
            "notification" => Some(Self::Notification),
            "own" => Some(Self::Own),
            _ => None,
        }
    }
}
