//! The table made fast: commands, callback prefixes, contents and kinds are looked up, and of the text patterns
//! only those are tried whose words are there, so that a table of thousands of rows costs no more than one of ten.

use std::collections::HashMap;

use super::Found;
use super::patterns::Patterns;
use super::route::{Route, Tier};
use crate::incoming::{Content, Incoming};

/// Places in the table's rows. Each list is sorted, the most specific first.
#[derive(Debug, Default)]
pub(super) struct Index {
    commands: HashMap<String, Vec<usize>>,
    callbacks: HashMap<String, Vec<usize>>,
    /// In bytes: no colon behind it can end a prefix.
    longest_callback: usize,
    patterns: Patterns,
    texts: Vec<usize>,
    contents: HashMap<Content, Vec<usize>>,
    kinds: HashMap<String, Vec<usize>>,
    defaults: Vec<usize>,
}

impl Index {
    pub fn new(routes: &[Route]) -> Self {
        let mut rows: Vec<(usize, &Route)> = routes.iter().enumerate().collect();
        rows.sort_by_key(|(_, route)| route.rank());
        let patterns: Vec<_> =
            rows.iter().filter_map(|(at, route)| Some((*at, route.when.pattern()?))).collect();
        let mut index = Self { patterns: Patterns::new(&patterns), ..Self::default() };
        for (at, route) in rows {
            index.add(at, route);
        }
        index
    }

    fn add(&mut self, at: usize, route: &Route) {
        let when = &route.when;
        match when.tier() {
            Tier::CommandOrCallback => {
                if let Some(command) = &when.command {
                    self.commands.entry(command.clone()).or_default().push(at);
                } else if let Some(prefix) = &when.callback {
                    self.longest_callback = self.longest_callback.max(prefix.len());
                    self.callbacks.entry(prefix.clone()).or_default().push(at);
                }
            }
            // Gathered before, all at once.
            Tier::Pattern => {}
            Tier::Text => self.texts.push(at),
            Tier::Content => self.contents.entry(when.content.unwrap_or_default()).or_default().push(at),
            Tier::Kind => self.kinds.entry(when.kind.clone().unwrap_or_default()).or_default().push(at),
            Tier::Default => self.defaults.push(at),
        }
    }

    /// The route of what a user named exactly: a command or a button.
    pub fn find_pressed_or_commanded<'t>(
        &self,
        routes: &'t [Route],
        incoming: &Incoming,
    ) -> Option<Found<'t>> {
        if let Some(command) = &incoming.command {
            return first(routes, self.commands.get(&command.name), incoming);
        }
        let data = incoming.pressed()?;
        prefixes(data, self.longest_callback).find_map(|(prefix, rest)| {
            let found = first(routes, self.callbacks.get(prefix), incoming)?;
            Some(Found { action: Some(prefix.to_owned()), param: not_empty(rest), ..found })
        })
    }

    /// The route of anything else.
    pub fn find_other<'t>(&self, routes: &'t [Route], incoming: &Incoming) -> Option<Found<'t>> {
        let lists = [
            Some(&self.texts),
            self.contents.get(&incoming.content),
            self.kinds.get(&incoming.kind),
            Some(&self.defaults),
        ];
        let found = self.find_by_pattern(routes, incoming);
        let found = found.or_else(|| lists.into_iter().find_map(|list| first(routes, list, incoming)))?;
        // A row for callbacks of any prefix: what is before the first colon is the action all the same.
        let data = incoming.pressed();
        let (action, param) = data.map(|data| data.split_once(':').unwrap_or((data, ""))).unwrap_or_default();
        Some(Found { action: not_empty(action), param: not_empty(param), ..found })
    }

    fn find_by_pattern<'t>(&self, routes: &'t [Route], incoming: &Incoming) -> Option<Found<'t>> {
        let said = [&incoming.text, &incoming.caption];
        let texts = said.into_iter().flatten().map(|text| text.plain.as_str());
        first_of(routes, self.patterns.possible(texts), incoming)
    }
}

fn first<'t>(routes: &'t [Route], list: Option<&Vec<usize>>, incoming: &Incoming) -> Option<Found<'t>> {
    first_of(routes, list?.iter().copied(), incoming)
}

fn first_of<'t>(
    routes: &'t [Route],
    mut places: impl Iterator<Item = usize>,
    incoming: &Incoming,
) -> Option<Found<'t>> {
    let route = places.find_map(|at| routes.get(at).filter(|route| route.fits(incoming)))?;
    Some(Found { route: &route.label, target: route.target(incoming), action: None, param: None })
}

/// The ways to read `a:b:c` as prefix and rest, the longest prefix first: `a:b:c`, `a:b` and `c`, `a` and `b:c`.
fn prefixes(data: &str, longest: usize) -> impl Iterator<Item = (&str, &str)> {
    let colons = data.as_bytes().iter().take(longest + 1).enumerate().filter(|(_, byte)| **byte == b':');
    let cuts: Vec<usize> = colons.map(|(at, _)| at).collect();
    let split = move |at| Some((data.get(..at)?, data.get(at + 1..)?));
    std::iter::once((data, "")).chain(cuts.into_iter().rev().filter_map(split))
}

fn not_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
